"""Durations and sizes in the notations that Go's and Docker's flags have."""

from __future__ import annotations

import re

from corten.builder.dockerfile.errors import DockerfileError

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_DURATION = re.compile(r"(\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{0,9})?) ?([kmgtp]?)i?b?", re.ASCII | re.IGNORECASE)
_MAX_NS = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """Go's `1h2m3.5s` in nanoseconds. Raises DockerfileError with the text of Go's time.ParseDuration.

    >>> parse_duration("1m30s"), parse_duration("-1.5h"), parse_duration("0")
    (90000000000, -5400000000000, 0)
    """
    body = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    total, at = 0.0, 0
    while at < len(body):
        match = _DURATION.match(body, at)
        if match is None:
            unit_missing = body[at:].replace(".", "").isdecimal()
            what = "missing unit in duration" if unit_missing else "invalid duration"
            raise DockerfileError(f'time: {what} "{text}"')
        total += float(match[1]) * _UNITS_NS[match[2]]
        at = match.end()
    if not body or total > _MAX_NS:
        raise DockerfileError(f'time: invalid duration "{text}"')
    return int(-total if text.startswith("-") else total)


def parse_bytes(text: str) -> int:
    """`64m`, `1.5GiB`, `100` in bytes, powers of 1024 as in `--memory`. Raises ValueError.

    >>> parse_bytes("64m")
    67108864
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))
