"""Truth values in Dockerfiles, attributes and flags: what Go's strconv.ParseBool takes, in any case."""

from __future__ import annotations

_VALUES = {
    **dict.fromkeys(("1", "t", "true"), True),
    **dict.fromkeys(("0", "f", "false"), False),
}


def parse_bool(text: str) -> bool | None:
    """None: it is neither.

    >>> parse_bool("TRUE"), parse_bool("0"), parse_bool("")
    (True, False, None)
    """
    return _VALUES.get(text.lower())
