"""A log that goes to another process or machine: a bounded queue, and a connection that is made again.

A container whose log is read too slowly waits (mode blocking, the default) or loses lines (non-blocking).
One whose log nobody takes at all loses lines in both modes: it shall not stop because a server is away. The
copy that `logs` reads (dual logging) loses nothing.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque

from corten.supervisor.log_formats import make_format
from corten.supervisor.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.loop import Loop

_QUEUE_MAX = 1 << 20
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
_FAREWELL_S = 10.0
_DATAGRAMS = ("udp", "unixgram")
_TOO_LONG = (errno.EMSGSIZE, errno.EINVAL)


class RemoteLog:
    """One container's. All calls return at once; `full` tells that reading should pause."""

    __slots__ = (
        "_closing",
        "_connected",
        "_datagrams",
        "_format",
        "_loop",
        "_nonblocking",
        "_on_change",
        "_queue",
        "_queue_max",
        "_queued",
        "_remote",
        "_retry_s",
        "_sock",
        "dropped",
    )

    def __init__(self, log: dict[str, Any], loop: Loop, on_change: Callable[[], None]) -> None:
        """log["remote"]: network, address, format, mode, max_buffer, tls, and what the format needs.

        on_change: called when `full` may have changed.
        """
        self._remote: dict[str, Any] = log["remote"]
        self._format = make_format(self._remote)
        self._loop, self._on_change = loop, on_change
        self._datagrams = self._remote["network"] in _DATAGRAMS
        self._nonblocking = self._remote.get("mode") == "non-blocking"
        self._queue_max: int = self._remote.get("max_buffer") or _QUEUE_MAX
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._sock: socket.socket | None = None
        self._connected = self._closing = False
        self._retry_s = _FIRST_RETRY_S
        self.dropped = 0
        self._connect()

    @property
    def full(self) -> bool:
        """Whether the container should wait until the other side has read."""
        return self._connected and not self._nonblocking and self._queued > self._queue_max

    @property
    def sending(self) -> bool:
        """Whether it has been closed, and the other side takes the last of it."""
        return self._closing and self._connected

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Send lines that were read together."""
        now_ns = time.time_ns()
        for line in lines:
            for message in self._format.encode(stream, line, now_ns):
                # While somebody reads it is `full` that keeps the queue short.
                if self._queued > self._queue_max and not (self._connected and not self._nonblocking):
                    self.dropped += 1
                    continue
                self._queue.append(message)
                self._queued += len(message)
        if self._connected:
            self._flush()

    def close(self) -> None:
        """No more output: what is queued is sent for a few seconds yet."""
        self._closing = True
        if not self._queue:
            self._end()
        else:
            self._loop.after(_FAREWELL_S, self._end)

    # -- the connection ---------------------------------------------------------------------------

    def _connect(self) -> None:
        network, address = self._remote["network"], self._remote["address"]
        family = {"unix": socket.AF_UNIX, "unixgram": socket.AF_UNIX}.get(network)
        if family is None:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            address = (address[0], address[1])
        kind = socket.SOCK_DGRAM if self._datagrams else socket.SOCK_STREAM
        sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.connect(address)
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            self._retry_later()
            return
        try:
            if network == "tcp+tls":
                sock = _with_tls(sock, self._remote)
        except OSError:
            sock.close()
            self._retry_later()
            return
        self._sock = sock
        self._loop.watch(sock.fileno(), self._ready, READ | WRITE)

    def _retry_later(self) -> None:
        if self._closing:
            return
        self._loop.after(self._retry_s, self._retry)
        self._retry_s = min(_LAST_RETRY_S, self._retry_s * 2)

    def _retry(self) -> None:
        if not self._closing and self._sock is None:
            self._connect()

    def _ready(self) -> None:
        sock = self._sock
        if sock is None:
            return
        if not self._connected and not self._greet(sock):
            return
        if not self._datagrams and not self._hear(sock):
            return
        self._flush()

    def _greet(self, sock: socket.socket) -> bool:
        """Whether the connection stands by now."""
        try:
            if number := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, os.strerror(number))
            shake = getattr(sock, "do_handshake", None)
            if shake is not None:
                shake()
        except OSError as e:
            if not _is_unfinished(e):
                self._lost()
            return False
        self._connected, self._retry_s = True, _FIRST_RETRY_S
        return True

    def _hear(self, sock: socket.socket) -> bool:
        """Nobody talks back; an end of file is the end. Whether the connection still stands."""
        try:
            if sock.recv(4096):
                return True
        except OSError as e:
            if _is_unfinished(e):
                return True
        self._lost()
        return False

    def _flush(self) -> None:
        """Send what can be sent now."""
        sock, was_full = self._sock, self.full
        try:
            while self._queue and sock is not None:
                message = self._queue[0]
                sent = self._send(sock, message)
                self._queued -= sent
                if sent < len(message):
                    self._queue[0] = message[sent:]
                    break
                self._queue.popleft()
        except OSError as e:
            if not _is_unfinished(e):
                self._lost()
                return
        if sock is not None:
            self._loop.change(sock.fileno(), READ | WRITE if self._queue else READ)
        if self._closing and not self._queue:
            self._end()
        elif was_full and not self.full:
            self._on_change()

    def _send(self, sock: socket.socket, message: bytes) -> int:
        try:
            return sock.send(message)
        except OSError as e:
            if self._datagrams and e.errno in (*_TOO_LONG, errno.ECONNREFUSED):
                self.dropped += 1  # nobody there, or too long for this way: on to the next
                return len(message)
            raise

    def _lost(self) -> None:
        """The connection broke; a message that was sent in part is sent again as a whole only by luck."""
        sock, self._sock = self._sock, None
        self._connected = False
        if sock is not None:
            self._loop.forget(sock.fileno())
            sock.close()
        self._on_change()
        self._retry_later()

    def _end(self) -> None:
        sock, self._sock = self._sock, None
        self._queue.clear()
        self._queued = 0
        self._connected = False
        if sock is not None:
            self._loop.forget(sock.fileno())
            sock.close()


def _is_unfinished(error: OSError) -> bool:
    if isinstance(error, BlockingIOError):
        return True
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def _with_tls(sock: socket.socket, remote: dict[str, Any]) -> socket.socket:
    from corten.wire.tls import client_context  # 20 ms, for those who log through TLS

    tls: dict[str, Any] = remote.get("tls") or {}
    certificates = [(tls["cert"], tls.get("key") or tls["cert"])] if tls.get("cert") else []
    context = client_context(
        tls.get("ca") or None, certificates=certificates, verify=not tls.get("skip_verify")
    )
    return context.wrap_socket(sock, server_hostname=tls.get("name") or None, do_handshake_on_connect=False)
