"""Spans of time for people, as Docker's go-units says them."""

from __future__ import annotations

_HOUR_S = 3600
_DAY_H = 24


def human(seconds: float) -> str:
    """`Less than a second`, `5 seconds`, `About an hour`, `3 weeks`: one unit, rounded down but for hours."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / _HOUR_S + 0.5)
    if hours == 1:
        return "About an hour"
    for limit_h, unit_h, name in _LONG:
        if hours < limit_h:
            return f"{hours // unit_h} {name}"
    return f"{int(seconds / _HOUR_S) // _DAY_H // 365} years"


_LONG = (
    (48, 1, "hours"),
    (_DAY_H * 7 * 2, _DAY_H, "days"),
    (_DAY_H * 30 * 2, _DAY_H * 7, "weeks"),
    (_DAY_H * 365 * 2, _DAY_H * 30, "months"),
)
