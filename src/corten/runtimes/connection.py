"""A connection to one of the supervisor's sockets, on the engine's event loop.

Requests are numbered and answered in any order; events come without a number. Both take effect in the
order in which they were sent: whoever awaits an answer goes on before later events are told. When the
other side dies, every open request fails with ConnectionLost and `on_lost` is called once.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from corten.errors import InternalError, NotFound
from corten.linux import seqpacket
from corten.runtimes.protocol import StartFailed

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class ConnectionLost(InternalError):
    """The process at the other end is gone; whether the request was carried out is not known."""


class Connection:
    """SEQPACKET client. All methods belong to the event loop's thread."""

    def __init__(
        self, sock: socket.socket, *, on_event: Callable[[dict[str, Any]], None], on_lost: Callable[[], None]
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._on_event, self._on_lost = on_event, on_lost
        self._number = 0
        self._pending: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._backlog: deque[tuple[bytes, list[int]]] = deque()
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def lost(self) -> bool:
        """Whether the other side is gone or we have closed."""
        return self._sock.fileno() < 0

    async def request(
        self, operation: str, fields: dict[str, Any], *, raw: bytes = b"", fds: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        """Send a request and wait for its answer and descriptors (then the caller's).

        `raw`: further members of the JSON object, ready-made, e.g. b',"spec":{...}'.
        Raises NotFound, StartFailed, InternalError, ConnectionLost.
        """
        if self.lost:
            raise ConnectionLost("the supervisor is not connected")
        self._number += 1
        number = self._number
        future: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()
        self._pending[number] = future
        self._send(_encode({"n": number, "op": operation, **fields})[:-1] + raw + b"}", fds)
        try:
            answer, received = await future
        finally:
            self._pending.pop(number, None)
        error = answer.get("error")
        if error is None:
            return answer, received
        for fd in received:
            os.close(fd)
        if error["kind"] == "start":
            raise StartFailed(error["message"], errno=error["errno"], stage=error["stage"])
        if error["kind"] == "not-found":
            raise NotFound(error["message"])
        raise InternalError(error["message"])

    def notify(self, operation: str, fields: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a request that wants no answer; lost if the other side is."""
        if not self.lost:
            self._send(_encode({"op": operation, **fields}), fds)

    def _send(self, data: bytes, fds: Sequence[int]) -> None:
        if not self._backlog:
            try:
                seqpacket.send(self._sock, data, list(fds))
                return
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._writable)
            except OSError:
                self._lose()
                return
        self._backlog.append((data, [os.dup(fd) for fd in fds]))

    def _writable(self) -> None:
        while self._backlog:
            data, fds = self._backlog[0]
            try:
                seqpacket.send(self._sock, data, fds)
            except BlockingIOError:
                return
            except OSError:
                self._lose()
                return
            self._backlog.popleft()
            for fd in fds:
                os.close(fd)
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        for _ in range(32):
            try:
                data, fds = seqpacket.receive(self._sock)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self._lose()
                return
            message: dict[str, Any] = _decode(data)
            number = message.get("n")
            if number is None:
                self._loop.call_soon(self._on_event, message)  # as a future's waiter is woken
                continue
            future = self._pending.pop(number, None)
            if future is None or future.done():  # whoever asked has been cancelled
                for fd in fds:
                    os.close(fd)
            else:
                future.set_result((message, fds))

    def _lose(self) -> None:
        if self.lost:
            return
        self.close()
        self._on_lost()

    def close(self) -> None:
        """Hang up; open requests fail."""
        if self.lost:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for _, fds in self._backlog:
            for fd in fds:
                os.close(fd)
        self._backlog.clear()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(ConnectionLost("the supervisor has died"))
