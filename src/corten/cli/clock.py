"""Times of the API as text: RFC 3339 in, Docker's layouts out. `datetime` costs 1.5 ms, `time` nothing."""

from __future__ import annotations

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NEVER = "0001-01-01"
_DAYS_TO_EPOCH = 719468


def parse(text: str) -> tuple[int, int] | None:
    """Parse RFC 3339: seconds since the epoch and nanoseconds; None if it is none or Go's zero time."""
    date, t, clock = text.partition("T")
    if not t or date == NEVER or len(clock) < 8:
        return None
    offset_s, clock = _split_zone(clock)
    seconds, _, fraction = clock.partition(".")
    try:
        year, month, day = map(int, date.split("-"))
        hour, minute, second = map(int, seconds.split(":"))
        nanoseconds = int((fraction + "000000000")[:9])
    except ValueError:
        return None
    return _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s, nanoseconds


def _split_zone(clock: str) -> tuple[int, str]:
    if clock.endswith(("Z", "z")):
        return 0, clock[:-1]
    for sign in "+-":
        head, found, zone = clock.rpartition(sign)
        if found and len(zone) == 5 and zone[:2].isdigit() and zone[3:].isdigit():
            offset_s = int(zone[:2]) * 3600 + int(zone[3:]) * 60
            return (offset_s if sign == "+" else -offset_s), head
    return 0, clock


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March."""
    if month <= 2:
        year -= 1
        month += 12
    day_of_year = (153 * (month - 3) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - _DAYS_TO_EPOCH


def ansic(moment: tuple[int, int]) -> str:
    """Local time as `Fri May 30 12:07:14 2025` (Go's ANSIC)."""
    t = time.localtime(moment[0])
    month = _MONTHS[t.tm_mon - 1]
    return (
        f"{_DAYS[t.tm_wday]} {month} {t.tm_mday:2d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} {t.tm_year}"
    )


def go_string(moment: tuple[int, int]) -> str:
    """Local time as `2025-05-30 12:07:14 +0200 CEST`, the layout of the CREATED AT column."""
    t = time.localtime(moment[0])
    return f"{_stamp(t, ' ')} {_offset(t, '')} {t.tm_zone}"


def rfc3339(moment: tuple[int, int]) -> str:
    """Local time as `2025-05-30T12:07:14+02:00`."""
    t = time.localtime(moment[0])
    return _stamp(t, "T") + (_offset(t, ":") if t.tm_gmtoff else "Z")


def rfc3339_nano(moment: tuple[int, int]) -> str:
    """Local time with nine digits of nanoseconds, the layout of events."""
    t = time.localtime(moment[0])
    return f"{_stamp(t, 'T')}.{moment[1]:09d}" + (_offset(t, ":") if t.tm_gmtoff else "Z")


def _stamp(t: time.struct_time, middle: str) -> str:
    clock = f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
    return f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}{middle}{clock}"


def _offset(t: time.struct_time, colon: str) -> str:
    minutes = abs(t.tm_gmtoff) // 60
    return f"{'-' if t.tm_gmtoff < 0 else '+'}{minutes // 60:02d}{colon}{minutes % 60:02d}"
