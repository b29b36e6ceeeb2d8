"""SOURCE_DATE_EPOCH: the time that results have instead of that at which they were made.

Source: https://reproducible-builds.org/specs/source-date-epoch/
"""

from __future__ import annotations

from corten.errors import InvalidParameter
from corten.units import SECOND_NS

BUILD_ARG = "SOURCE_DATE_EPOCH"


def parse_epoch(text: str, name: str = BUILD_ARG) -> int | None:
    """Seconds since 1970 → nanoseconds; None for "". Raises InvalidParameter, which tells the name."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise InvalidParameter(f"invalid {name}: {text}")
    return int(text) * SECOND_NS
