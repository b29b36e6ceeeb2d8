"""The user's terminal: its size, and raw mode that is always taken back. See termios(3)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STDIN, STDOUT = 0, 1


def size() -> tuple[int, int] | None:
    """Rows and columns of the terminal on stdout; None if there is none or it has no size."""
    try:
        columns, rows = os.get_terminal_size(STDOUT)
    except OSError:
        return None
    return (rows, columns) if rows or columns else None


class RawMode:
    """In the `with` block keys reach the program as they are typed: no echo, no line editing, no signals."""

    __slots__ = ("_fd", "_saved")

    def __init__(self, fd: int = STDIN) -> None:
        self._fd = fd
        self._saved: list[Any] | None = None

    def __enter__(self) -> RawMode:
        import termios as t

        self._saved = t.tcgetattr(self._fd)
        raw = t.tcgetattr(self._fd)
        raw[0] &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
        raw[1] &= ~t.OPOST
        raw[2] = raw[2] & ~(t.CSIZE | t.PARENB) | t.CS8
        raw[3] &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
        raw[6][t.VMIN], raw[6][t.VTIME] = 1, 0
        t.tcsetattr(self._fd, t.TCSANOW, raw)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            import termios

            try:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
            except termios.error:
                pass  # the terminal has gone
            self._saved = None
