"""A task's output on its way: read from its pipes or terminal, into the log and to who is attached."""

from __future__ import annotations

import os
import socket
import struct

from corten.supervisor.json_file import LineSplitter
from corten.supervisor.log_targets import open_target
from corten.supervisor.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.loop import Loop

_CHUNK = 64 * 1024
_BACKLOG_MAX = 1 << 20
_STREAMS = {"stdout": 1, "stderr": 2, "master": 1}
_HEADER = struct.Struct(">BxxxI")  # stdcopy: stream number, length


class Subscriber:
    """Somebody attached: gets a copy of the output through a stream socket.

    One that does not read has a backlog; at 1 MiB the task's output stops being read until it does, as
    a terminal would stop. Nothing is dropped and memory stays bounded.
    """

    __slots__ = ("_backlog", "_loop", "_on_change", "_sock", "closing", "streams")

    def __init__(
        self, loop: Loop, sock: socket.socket, streams: set[int], on_change: Callable[[], None]
    ) -> None:
        self._loop, self._sock, self.streams, self._on_change = loop, sock, streams, on_change
        self._backlog = bytearray()
        self.closing = False
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)

    @property
    def full(self) -> bool:
        """Whether reading of the output should pause for it."""
        return len(self._backlog) > _BACKLOG_MAX

    @property
    def gone(self) -> bool:
        """Whether it has been closed."""
        return self._sock.fileno() < 0

    def send(self, data: bytes) -> None:
        """Pass data on."""
        if self._backlog:
            self._backlog += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._backlog += data[sent:]
            self._loop.change(self._sock.fileno(), READ | WRITE)

    def _ready(self) -> None:
        try:
            if self._backlog:
                del self._backlog[: self._sock.send(self._backlog)]
            elif not self._sock.recv(4096):
                self.close()  # it never sends anything: end of file is detaching
                return
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._backlog:
            if self.closing:
                self.close()
                return
            self._loop.change(self._sock.fileno(), READ)
        self._on_change()

    def end(self) -> None:
        """No more output: close as soon as the backlog is delivered."""
        self.closing = True
        if not self._backlog:
            self.close()

    def close(self) -> None:
        """Close now."""
        if not self.gone:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._on_change()


class Output:
    """All that the log writer holds of one task. Descriptors by name: stdout, stderr, master, stdin, pid."""

    __slots__ = (
        "_loop",
        "_on_drained",
        "_open",
        "_paused",
        "_splitters",
        "_target",
        "fds",
        "id",
        "subscribers",
    )

    def __init__(
        self,
        loop: Loop,
        task_id: str,
        log: dict[str, Any],
        fds: dict[str, int],
        subscribers: list[Subscriber],
        on_drained: Callable[[Output], None],
    ) -> None:
        self._loop, self.id, self.fds, self.subscribers = loop, task_id, fds, subscribers
        self._target = open_target(log, loop, self.regulate)
        self._on_drained = on_drained
        self._paused = False
        self._open = [name for name in fds if name in _STREAMS]
        self._splitters = {name: LineSplitter() for name in self._open}
        for name in self._open:
            os.set_blocking(fds[name], False)
            loop.watch(fds[name], lambda name=name: self._readable(name))  # type: ignore[misc]

    @property
    def drained(self) -> bool:
        """Whether all output has been read to its end."""
        return not self._open

    def _readable(self, name: str) -> None:
        try:
            data = os.read(self.fds[name], _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # EIO: the last process with the terminal open is gone
        if data:
            self._pass_on(name, data)
            return
        self._finish(name)

    def _pass_on(self, name: str, data: bytes) -> None:
        stream = "stderr" if name == "stderr" else "stdout"
        lines = self._splitters[name].feed(data)
        if lines:
            self._target.write(stream, lines)
            if self._target.full:
                self.regulate()
        if not self.subscribers:
            return
        number = _STREAMS[name]
        framed = data if name == "master" else _HEADER.pack(number, len(data)) + data
        for subscriber in self.subscribers:
            if number in subscriber.streams:
                subscriber.send(framed)
        self.regulate()

    def _finish(self, name: str) -> None:
        lines = self._splitters[name].finish()
        if lines:
            self._target.write("stderr" if name == "stderr" else "stdout", lines)
        self._loop.forget(self.fds[name])
        os.close(self.fds.pop(name))
        self._open.remove(name)
        if not self._open:
            self._target.close()
            for subscriber in list(self.subscribers):
                subscriber.end()
            self._on_drained(self)

    def regulate(self) -> None:
        """Drop subscribers that left; stop or resume reading as they can or cannot keep up."""
        self.subscribers = [s for s in self.subscribers if not s.gone]
        pause = self._target.full or any(s.full for s in self.subscribers)
        if pause != self._paused:
            self._paused = pause
            for name in self._open:
                self._loop.change(self.fds[name], 0 if pause else READ)

    def close(self) -> None:
        """Let go of everything."""
        for name in self._open:
            self._loop.forget(self.fds[name])
        self._open = []
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}
        self._target.close()
        for subscriber in list(self.subscribers):
            subscriber.close()
