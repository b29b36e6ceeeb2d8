"""RFC 3339 times with nanoseconds, as image documents carry them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from corten.oci.image import InvalidDocument

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
ZERO = "0001-01-01T00:00:00Z"


def parse_ns(text: str | None) -> int:
    """Nanoseconds since 1970; 0 for None and Go's zero time. Raises InvalidDocument."""
    if not text or text == ZERO:
        return 0
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidDocument(f"invalid time {text[:60]!r}")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    offset = timedelta(hours=int(match[9] or 0), minutes=int(match[10] or 0))
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        moment -= -offset if match[8] == "-" else offset
    except (ValueError, OverflowError) as e:
        raise InvalidDocument(f"invalid time {text[:60]!r}") from e
    fraction = int((match[7] or "0")[:9].ljust(9, "0"))
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + fraction


def format_ns(moment_ns: int) -> str:
    """RFC 3339 in UTC, trailing zeros of the fraction cut as Go's RFC3339Nano does."""
    seconds, fraction = divmod(moment_ns, 1_000_000_000)
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return f"{text}Z"
