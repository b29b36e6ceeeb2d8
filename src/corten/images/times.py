"""When an image says that it was made."""

from __future__ import annotations

from corten.units import parse_time

ZERO = "0001-01-01T00:00:00Z"
"""Go's zero time, which stands for "unknown" in documents."""


def created_ns(text: str | None) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time; 0 for none, Go's zero time and nonsense."""
    if not text or text == ZERO or "T" not in text:
        return 0
    try:
        return parse_time(text, 0)
    except ValueError:
        return 0
