"""A task's output on its way: read from its pipes or terminal, into the log and to who is attached."""

from __future__ import annotations

import os
import socket
import struct

from corten.linux import pipes
from corten.supervisor.json_file import split_lines
from corten.supervisor.log_targets import Nowhere, open_target
from corten.supervisor.loop import EDGE, READ, WRITE
from corten.supervisor.staging import Owner, Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.loop import Loop

_FROM_TERMINAL = 32 << 10  # half of a pipe, of which a line without its end may take a quarter
_BACKLOG_MAX = 1 << 20
_TURNS = 4  # as much as it may have before others have theirs
_EDGE = READ | EDGE  # output that makes no whole line stays where it is: once is enough to be told of it
_STREAMS = {"stdout": 1, "stderr": 2}
_HEADER = struct.Struct(">BxxxI")  # stdcopy: stream number, length
_PIPE = 64 << 10  # what it holds unless it is enlarged
_buffer = memoryview(bytearray(256 << 10))  # for what is read to be shown and forgotten


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

    def send(self, header: bytes, data: bytes | memoryview) -> None:
        """Pass both on; `data` is the caller's again."""
        if self._backlog:
            self._backlog += header
            self._backlog += data
            return
        try:
            sent = self._sock.sendmsg((header, data))
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(header) + len(data):
            self._backlog += header[sent:]
            self._backlog += data[max(0, sent - len(header)) :]
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
    """All that the log writer holds of one task. Descriptors by name: stdout, stderr, stdin, pid, status.

    What comes from a terminal (master) goes through a pipe (feed, stdout) and is read there as any output.
    Without a log there are no lines to be kept whole, and nothing to be staged.
    """

    __slots__ = (
        "_loop",
        "_on_drained",
        "_open",
        "_owners",
        "_paused",
        "_reading",
        "_seen",
        "_staging",
        "_target",
        "_terminal",
        "fds",
        "id",
        "subscribers",
    )

    def __init__(
        self,
        loop: Loop,
        staging: Staging,
        task_id: str,
        log: dict[str, Any],
        fds: dict[str, int],
        subscribers: list[Subscriber],
        on_drained: Callable[[Output], None],
    ) -> None:
        self._loop, self._staging = loop, staging
        self.id, self.fds, self.subscribers = task_id, fds, subscribers
        self._target = open_target(log, loop, self.regulate, staging.writing)
        self._on_drained = on_drained
        self._reading = READ if isinstance(self._target, Nowhere) else _EDGE
        self._paused = False
        self._terminal = "master" in fds
        self._open = [name for name in fds if name in _STREAMS]
        self._owners = {name: Owner(name, log) for name in self._open}
        self._seen = dict.fromkeys(self._open, 0)  # bytes in the pipe that have been shown to who is attached
        for name in self._open:
            os.set_blocking(fds[name], False)
            if not self._terminal:
                self._watch(name)
        if self._terminal:
            os.set_blocking(fds["master"], False)
            loop.watch(fds["master"], self._read_terminal)

    def _watch(self, name: str) -> None:
        self._loop.watch(self.fds[name], lambda: self._read(name), self._reading)

    @property
    def drained(self) -> bool:
        """Whether all output has been read to its end."""
        return not self._open

    @property
    def sending(self) -> bool:
        """Whether it has been closed, and a server takes the last of it."""
        return self._target.sending

    # -- reading ----------------------------------------------------------------------------------

    def _read_terminal(self) -> None:
        try:
            count = pipes.pull(self.fds["master"], self.fds["feed"], _FROM_TERMINAL)
        except BlockingIOError:
            self._cut("stdout")  # a line of so many keystrokes that the pipe has no room for one more
            return
        except OSError:
            count = 0  # EIO: the last process with the terminal open is gone
        if count:
            self._read("stdout")
        else:
            self._finish("stdout")

    def _cut(self, name: str) -> None:
        """Write what makes no whole line as a piece of one."""
        if data := self._staging.look(self.fds[name]):
            self._pass_on(name, data, end=True)

    def _read(self, name: str) -> None:
        """More has come, or the end. What makes no whole line yet stays where it is, if there is a log."""
        if self._reading == READ:
            self._read_unlogged(name)
            return
        pipe = self.fds[name]
        while data := self._staging.look(pipe):
            rest = self._pass_on(name, data)
            if rest < len(data) and not self._terminal:
                if not self._paused:
                    self._loop.change(pipe, _EDGE)  # there may be more, but others wait, too
                return
            if rest == len(data):
                break
        if data == b"" or (data and pipes.hung_up(pipe)):
            self._finish(name)

    def _read_unlogged(self, name: str) -> None:
        pipe = self.fds[name]
        for _ in range(_TURNS):
            try:
                count = os.readv(pipe, (_buffer,))
            except BlockingIOError:
                return
            if not count:
                self._finish(name)
                return
            if count == _PIPE:
                pipes.enlarge(pipe)  # much is coming: fewer turns for it
            if self.subscribers:
                self._show(name, _buffer[:count])
            if self._paused:
                return

    def _pass_on(self, name: str, data: bytes, *, end: bool = False) -> int:
        """Write whole lines, show everything; returns how many bytes of `data` have stayed in the pipe."""
        lines, rest = split_lines(data)
        if end and rest:
            lines.append(data[len(data) - rest :])
            rest = 0
        count = len(data) - rest
        new, self._seen[name] = data[self._seen[name] :], rest
        if count:
            self._staging.move(self.fds[name], count, self._owners[name])
            self._target.write(name, lines)
            self._staging.written(count)
            if self._target.full:
                self.regulate()
        if new and self.subscribers:
            self._show(name, new)
        return rest

    def _show(self, name: str, data: bytes | memoryview) -> None:
        number = _STREAMS[name]
        header = b"" if self._terminal else _HEADER.pack(number, len(data))
        for subscriber in self.subscribers:
            if number in subscriber.streams:
                subscriber.send(header, data)
        self.regulate()

    def _finish(self, name: str) -> None:
        """Nobody can write any more: what is in the pipe now is all there will be."""
        while data := self._staging.look(self.fds[name]):
            if self._pass_on(name, data) == len(data):
                self._pass_on(name, data, end=True)
        self._loop.forget(self.fds["master" if self._terminal else name])
        for each in ("master", "feed", name) if self._terminal else (name,):
            os.close(self.fds.pop(each))
        self._open.remove(name)
        if not self._open:
            self._target.close()
            for subscriber in list(self.subscribers):
                subscriber.end()
            self._on_drained(self)

    def _watched(self) -> list[tuple[int, int]]:
        """The descriptors that are read when there is something, with the events to wait for."""
        if self._terminal:
            return [(self.fds["master"], READ)] if self._open else []
        return [(self.fds[name], self._reading) for name in self._open]

    def regulate(self) -> None:
        """Drop subscribers that left; stop or resume reading as they can or cannot keep up."""
        self.subscribers = [s for s in self.subscribers if not s.gone]
        pause = self._target.full or any(s.full for s in self.subscribers)
        if pause != self._paused:
            self._paused = pause
            for fd, events in self._watched():
                self._loop.change(fd, 0 if pause else events)

    def close(self) -> None:
        """Let go of everything."""
        for fd, _ in self._watched():
            self._loop.forget(fd)
        self._open = []
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}
        self._target.close()
        for subscriber in list(self.subscribers):
            subscriber.close()
