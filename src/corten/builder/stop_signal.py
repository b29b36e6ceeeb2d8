"""Names of signals, as STOPSIGNAL takes them: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`."""

from __future__ import annotations

import re
import signal

from corten.errors import InvalidParameter

_LAST = 64
_REALTIME = re.compile(r"RTMIN(?:\+(\d{1,2}))?|RTMAX(?:-(\d{1,2}))?", re.ASCII)
_NAMES = frozenset(name.removeprefix("SIG") for name in signal.Signals.__members__)


def check_signal(text: str) -> None:
    """Raises InvalidParameter with Docker's text if `text` names no signal."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdecimal():
        known = 0 < int(name[:4]) <= _LAST
    else:
        match = _REALTIME.fullmatch(name)
        known = name in _NAMES or (match is not None and int(match[1] or match[2] or 0) <= 30)
    if not known:
        raise InvalidParameter(f"invalid signal: {text}")
