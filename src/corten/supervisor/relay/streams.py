"""TCP: connections of clients, each with one to the container, and pipes between them."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from corten.supervisor.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.supervisor.loop import Loop

_PIPE_BYTES = 256 * 1024
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_ROUNDS = 16  # of one connection before others have their turn
_ACCEPTED_AT_ONCE = 64
_SPARE_PIPES = 256
_PAUSE_S = 0.1  # without descriptors nobody can be let in
_RESET = struct.pack("ii", 1, 0)  # struct linger: close with a reset


class StreamPort:
    """A listening socket, and all connections that came in by it."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self.listener = listener
        self.target = target
        self._loop = loop
        self._connections: set[_Connection] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, _ = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                    return
                continue  # it has gone already
            try:
                self._connections.add(_Connection(self._loop, client, self.target, self._connections.discard))
            except OSError:
                _reset(client)

    def _pause(self) -> None:
        self._loop.forget(self.listener.fileno())

        def again() -> None:
            if self.listener.fileno() >= 0 and not self._loop.watches(self.listener.fileno()):
                self._loop.watch(self.listener.fileno(), self._accept)

        self._loop.after(_PAUSE_S, again)

    @property
    def in_use(self) -> bool:
        """Whether there are connections."""
        return bool(self._connections)

    def bequest(self) -> tuple[()]:
        """Nothing: a connection's pipes and half-ends stay with who has them."""
        return ()

    def leave(self) -> None:
        """Another process accepts at this port from now on; connections that stand remain ours."""
        if self._loop.watches(self.listener.fileno()):
            self._loop.forget(self.listener.fileno())
        self.listener.close()

    def close(self) -> None:
        """The port is closed, and so are all connections: the container has gone."""
        self.leave()
        for connection in list(self._connections):
            connection.abort()


class _Way:
    """One direction: from a socket into a pipe, out of it into the other socket."""

    __slots__ = ("destination", "ended", "held", "pipe", "source")

    def __init__(self, source: socket.socket, destination: socket.socket) -> None:
        self.source, self.destination = source, destination
        self.pipe: tuple[int, int] | None = None
        self.held = 0  # bytes in the pipe
        self.ended = False  # the source has no more

    def pump(self) -> None:
        """Move what can be moved now. Raises OSError if an end is broken."""
        for _ in range(_ROUNDS):
            if not self.held and not self._fill():
                return
            if not self._drain():
                return

    def _fill(self) -> bool:
        if self.ended:
            return False
        if self.pipe is None:
            self.pipe = _take_pipe()
        try:
            count = os.splice(self.source.fileno(), self.pipe[1], _PIPE_BYTES, flags=_SPLICE)
        except BlockingIOError:
            return False
        self.held = count
        if not count:
            self.ended = True
            self.destination.shutdown(socket.SHUT_WR)
        return bool(count)

    def _drain(self) -> bool:
        assert self.pipe is not None
        while self.held:
            try:
                self.held -= os.splice(self.pipe[0], self.destination.fileno(), self.held, flags=_SPLICE)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        """Give the pipe back."""
        if self.pipe is not None:
            _give_pipe_back(self.pipe, empty=not self.held)
            self.pipe = None


class _Connection:
    """A client and the container."""

    __slots__ = ("_client", "_down", "_gone", "_loop", "_server", "_up")

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        target: tuple[str, int],
        gone: Callable[[_Connection], None],
    ) -> None:
        """Begins to connect. Raises OSError; then the client's socket is still the caller's."""
        self._loop, self._client, self._gone = loop, client, gone
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._up, self._down = _Way(client, self._server), _Way(self._server, client)
        try:
            client.setblocking(False)
            for sock in (client, self._server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            failure = self._server.connect_ex(target)
            if failure not in (0, errno.EINPROGRESS):
                raise OSError(failure, os.strerror(failure))
        except OSError:
            self._server.close()
            raise
        loop.watch(self._server.fileno(), self._connected, WRITE)

    def _connected(self) -> None:
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
            return
        self._ready()

    def _ready(self) -> None:
        try:
            self._up.pump()
            self._down.pump()
        except OSError:
            self.abort()
            return
        if self._up.ended and self._down.ended:
            self._end()
            return
        self._wait_for(self._client, self._up, self._down)
        self._wait_for(self._server, self._down, self._up)

    def _wait_for(self, sock: socket.socket, leaving: _Way, coming: _Way) -> None:
        """Wait for what the socket has to do next. Nothing: then not at all, or a hang-up would be told
        of again and again."""
        events = 0 if leaving.ended or leaving.held else READ
        if coming.held:
            events |= WRITE
        fd = sock.fileno()
        if not events:
            if self._loop.watches(fd):
                self._loop.forget(fd)
        elif self._loop.watches(fd):
            self._loop.replace(fd, self._ready, events)
        else:
            self._loop.watch(fd, self._ready, events)

    def abort(self) -> None:
        """End with resets: one side is broken, so neither shall take what it got for the whole."""
        for sock in (self._client, self._server):
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass
        self._end()

    def _end(self) -> None:
        for sock in (self._client, self._server):
            if self._loop.watches(sock.fileno()):
                self._loop.forget(sock.fileno())
            sock.close()
        self._up.close()
        self._down.close()
        self._gone(self)


def _reset(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        pass
    sock.close()


_pipes: list[tuple[int, int]] = []  # empty ones


def _take_pipe() -> tuple[int, int]:
    if _pipes:
        return _pipes.pop()
    pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # the kernel's own size does, too
    return pipe


def _give_pipe_back(pipe: tuple[int, int], *, empty: bool) -> None:
    if empty and len(_pipes) < _SPARE_PIPES:
        _pipes.append(pipe)
        return
    for fd in pipe:
        os.close(fd)
