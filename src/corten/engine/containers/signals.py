"""Signals by name and number: signal(7)."""

from __future__ import annotations

import re
import signal

from corten.errors import InvalidParameter

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_RTMIN, _RTMAX = 34, 64  # as containers see them: glibc keeps 32 and 33 for itself


def parse_signal(text: str) -> int:
    """Number of "KILL", "SIGKILL", "9", "RTMIN+3". Raises InvalidParameter with Docker's text."""
    if _NUMBER.fullmatch(text):
        number = int(text)
        if 0 < number <= _RTMAX:
            return number
        if number:
            raise InvalidParameter(f"the linux daemon does not support signal {number}")
    else:
        name = text.upper().removeprefix("SIG")
        if name.startswith(("RTMIN", "RTMAX")):
            return _real_time(name, text)
        try:
            return int(signal.Signals[f"SIG{name}"])
        except KeyError:
            pass
    raise InvalidParameter(f"invalid signal: {text}")


def _real_time(name: str, text: str) -> int:
    base, offset = (_RTMIN if name.startswith("RTMIN") else _RTMAX), name[5:]
    if not offset:
        return base
    if offset[0] in "+-" and offset[1:].isdigit() and _RTMIN <= base + int(offset) <= _RTMAX:
        return base + int(offset)
    raise InvalidParameter(f"invalid signal: {text}")
