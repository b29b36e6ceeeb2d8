"""An attached session: our stdin to the container, its output to us, until it ends or the user detaches.

Input is copied by a thread of its own, so that neither direction waits for the other.
"""

from __future__ import annotations

import os
from _thread import start_new_thread

from corten.cli import detach, terminal
from corten.cli.context import err, write_all
from corten.cli.errors import ExitError
from corten.client.stdcopy import STDERR, SYSTEM_ERROR, Demultiplexer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.engine import Hijacked

_READ_BYTES = 64 * 1024


class Session:
    """One hijacked stream between us and a container or exec with (`tty`) or without a terminal.

    With `stdin` our standard input goes in. `detach_keys` work only on a terminal, as Docker's do.
    """

    def __init__(self, stream: Hijacked, *, tty: bool, stdin: bool, detach_keys: str = "") -> None:
        self._stream = stream
        self._tty = tty
        self._stdin = stdin
        self._multiplexed = not tty if stream.multiplexed is None else stream.multiplexed
        self._detector = detach.Detector(_keys(detach_keys)) if tty else None

    @property
    def detached(self) -> bool:
        """Whether the user left with the detach keys."""
        return self._detector is not None and self._detector.found

    def run(self) -> None:
        """Copy until the container's output ends. The terminal is raw meanwhile and put back in any case."""
        if self._tty and self._stdin and os.isatty(terminal.STDIN):
            with terminal.RawMode():
                self._copy()
        else:
            self._copy()

    def refuse_detached(self) -> None:
        """Raise ExitError with Docker's words if the user left: for commands that were to see the end."""
        if self.detached:
            raise ExitError("read escape sequence")

    def _copy(self) -> None:
        if self._stdin:
            start_new_thread(self._copy_input, ())
        if self._multiplexed:
            self._copy_frames()
        else:
            while data := self._stream.recv():
                write_all(terminal.STDOUT, data)

    def _copy_frames(self) -> None:
        frames = Demultiplexer()
        while data := self._stream.recv():
            for stream, piece in frames.feed(data):
                if stream == SYSTEM_ERROR:
                    err(f"error from daemon in stream: {bytes(piece).decode('utf-8', 'replace')}\n")
                else:
                    write_all(2 if stream == STDERR else 1, piece)

    def _copy_input(self) -> None:
        """Runs in its own thread; what fails here shows in the output's end."""
        try:
            while data := os.read(terminal.STDIN, _READ_BYTES):
                if self._detector is not None:
                    data = self._detector.feed(data)
                if data:
                    self._stream.sendall(data)
                if self.detached:
                    self._stream.abort()
                    return
        except OSError:
            pass
        self._stream.close_write()


def _keys(text: str) -> bytes:
    try:
        return detach.parse(text or detach.DEFAULT)
    except ValueError as e:
        err(f"invalid detach escape keys, using default: {e}\n")
        return detach.parse(detach.DEFAULT)


def require_terminal(*, stdin: bool, tty: bool) -> str:
    """Why a terminal session cannot be had with our stdin, as Docker says it; empty if it can."""
    if stdin and tty and not os.isatty(terminal.STDIN):
        return "the input device is not a TTY"
    return ""
