"""Sizes, durations and times in the notations of Go and Docker.

Sizes: go-units (`1.2GB` is decimal, `512m` of a memory limit binary). Durations: Go's time package,
here always integer nanoseconds. Times: RFC 3339 with nanoseconds, and seconds with a fraction.
All parsers raise ValueError with Go's text.
"""

from __future__ import annotations

import re
import time
from calendar import timegm

SECOND_NS = 1_000_000_000
ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: never happened."""

_DURATION_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_MAX_INT64 = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """Nanoseconds of `1h30m`, `-1.5s`, `300ms`. Raises ValueError as time.ParseDuration does."""
    rest = text
    negative = rest.startswith("-")
    if rest[:1] in ("-", "+"):
        rest = rest[1:]
    if rest == "0":
        return 0
    total = 0
    position = 0
    while position < len(rest):
        part = _DURATION_PART.match(rest, position)
        assert part is not None
        whole, fraction, unit = part.groups()
        if not whole and not fraction:
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        scale = _DURATION_UNITS.get(unit)
        if scale is None:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += int(whole or "0") * scale
        if fraction:
            digits = fraction[:18]
            total += int(digits) * scale // 10 ** len(digits)
        if total > _MAX_INT64:
            raise ValueError(f'time: invalid duration "{text}"')
        position = part.end()
    if position == 0:
        raise ValueError(f'time: invalid duration "{text}"')
    return -total if negative else total


def format_duration(ns: int) -> str:
    """The duration as Go's Duration.String() writes it: `1h30m0s`, `1.5ms`, `0s`."""
    if ns == 0:
        return "0s"
    sign = "-" if ns < 0 else ""
    ns = abs(ns)
    for limit, unit in ((1_000, "ns"), (1_000_000, "µs"), (SECOND_NS, "ms")):
        if ns < limit:
            return f"{sign}{_decimal(ns, limit // 1_000)}{unit}"
    minutes, rest = divmod(ns, 60 * SECOND_NS)
    seconds = f"{_decimal(rest, SECOND_NS)}s"
    if not minutes:
        return sign + seconds
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}h{minutes}m{seconds}" if hours else f"{sign}{minutes}m{seconds}"


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).zfill(len(str(scale)) - 1).rstrip('0')}"


_LONG_UNITS = ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months"))
"""Up to how many hours, hours in one, name."""


_DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def human_size(size_bytes: float, precision: int = 4) -> str:
    """A size in decimal units with so many significant digits: `1.24MB`."""
    return _human(size_bytes, 1000, _DECIMAL_UNITS, precision)


def human_binary_size(size_bytes: float, precision: int = 4) -> str:
    """A size in binary units: `1.5GiB`."""
    return _human(size_bytes, 1024, _BINARY_UNITS, precision)


def _human(size: float, base: int, units: tuple[str, ...], precision: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{precision}g}{units[index]}"


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([a-zA-Z]*)\Z")
_SIZE_PREFIXES = "kmgtpezy"


def parse_size(text: str) -> int:
    """Bytes of a size with decimal units: `1.5GB` is 1500000000. Raises ValueError."""
    return _parse_size(text, 1000)


def parse_binary_size(text: str) -> int:
    """Bytes of a size with binary units, as memory limits are: `512m`, `2GiB`. Raises ValueError."""
    return _parse_size(text, 1024)


def _parse_size(text: str, base: int) -> int:
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = match[1], match[2].lower()
    exponent = 0
    if suffix and suffix != "b":
        exponent = _SIZE_PREFIXES.find(suffix[0]) + 1
        if not exponent or suffix[1:] not in ("", "b", "ib"):
            raise ValueError(f"invalid suffix: '{match[2]}'")
    whole, _, fraction = number.partition(".")
    scale: int = base**exponent
    return int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d\d:?\d\d)?\Z",
    re.ASCII,
)
_UNIX_TIME = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?\Z", re.ASCII)


def parse_unix_time(text: str) -> int:
    """Nanoseconds of `seconds[.fraction]`, the form in which the API carries times. Raises ValueError."""
    match = _UNIX_TIME.match(text)
    if match is None:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(match[1]) * SECOND_NS + int((match[2] or "").ljust(9, "0"))


def parse_time(text: str, now_ns: int) -> int:
    """Nanoseconds since 1970 of anything `--since`, `--until` and the `until` filter take.

    A Go duration counts back from now; RFC 3339 may lack its end (no zone = UTC); or seconds[.fraction].
    Raises ValueError.
    """
    if _UNIX_TIME.match(text):
        return parse_unix_time(text)
    match = _RFC3339.match(text)
    if match is None:
        try:
            return now_ns - parse_duration(text)
        except ValueError:
            raise ValueError(f'failed to parse value as time or duration: "{text}"') from None
    year, month, day, hour, minute, second = (int(part or "0") for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 60):
        raise ValueError(f'parsing time "{text}": out of range')
    zone = match[8] or "Z"
    offset_s = 0
    if zone != "Z":
        offset_s = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        offset_s = -offset_s if zone[0] == "-" else offset_s
    seconds = timegm((year, month, day, hour, minute, second)) - offset_s
    return seconds * SECOND_NS + int((match[7] or "").ljust(9, "0"))


def format_time(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC without trailing zeros, as Go's RFC3339Nano."""
    seconds, fraction = divmod(ns, SECOND_NS)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"
