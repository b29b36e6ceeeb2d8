"""What the event loop has to do with the socket of a client.

asyncio's own way from a listener to a protocol takes a task, two futures, four turns of the loop and an
accept(2) that fails, and most clients' connections carry one request. Here a connection is accepted, made
and perhaps answered in one callback. What a protocol sees is what asyncio promises it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import TypeAlias

log = logging.getLogger(__name__)

MakeProtocol: TypeAlias = "Callable[[], asyncio.Protocol]"

_READ = 120 << 10  # malloc(3) takes it from the heap
_READS = 8  # that one connection has before others; a unix socket holds no more than two
_UNSENT = 64 << 10  # bytes at which who writes is told to pause; it may go on at a quarter of them
_PAUSE_S = 1  # after an accept(2) that failed for want of descriptors or memory
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts the connections of a listening socket, one a turn. The socket is closed with it."""

    def __init__(self, sock: socket.socket, make: MakeProtocol) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._make = make
        self._family = sock.family  # which Python looks up anew whenever it is asked for
        self._loop = asyncio.get_running_loop()
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        if self.socket.fileno() >= 0:
            self._loop.remove_reader(self.socket.fileno())
            self.socket.close()

    def _listen(self) -> None:
        if self.socket.fileno() >= 0:
            self._loop.add_reader(self.socket.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self.socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            log.warning("no connection can be accepted for a moment", extra={"reason": str(error)})
            self._loop.remove_reader(self.socket.fileno())
            self._loop.call_later(_PAUSE_S, self._listen)
            return
        sock.setblocking(False)
        if self._family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        SocketTransport(self._loop, sock, self._make())


class SocketTransport(asyncio.Transport):
    """A connected stream socket, which is closed with it; without TLS."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.Protocol
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._protocol = protocol
        self._unsent = bytearray()
        self._high = _UNSENT
        self._low = _UNSENT // 4
        self._full = False  # the protocol has been told
        self._reading = True
        self._received_end = False
        self._sends_end = False
        self._closing = False
        self._over = False  # connection_lost has been called, or will be in the next turn
        protocol.connection_made(self)
        if self._reading and not self._closing:
            self._readable()  # half of all clients have written before they are accepted
        if self.is_reading() and not self._received_end:  # five system calls, which no answer waits for
            loop.add_reader(self._fd, self._readable)

    # ------------------------------------------------------------ reading

    def _readable(self) -> None:
        """Read until there is no more: libuv tells of a reset once, be it that data came before it."""
        for _ in range(_READS):
            try:
                data = self._socket.recv(_READ)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._lose(error)
                return
            try:
                if data:
                    self._protocol.data_received(data)
                else:
                    self._end_of_file()
            except Exception as error:
                log.exception("an unexpected error with what a client has sent")
                self._lose(error)
            if self._closing or self._received_end or not self._reading:
                return

    def _end_of_file(self) -> None:
        self._received_end = True
        self._loop.remove_reader(self._fd)  # it would be readable for ever
        if not self._protocol.eof_received():
            self.close()

    def is_reading(self) -> bool:
        """See asyncio."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """See asyncio."""
        if self.is_reading():
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """See asyncio."""
        if not self._reading and not self._closing:
            self._reading = True
            if not self._received_end:
                self._loop.add_reader(self._fd, self._readable)

    # ------------------------------------------------------------ writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio."""
        if self._over or not data:
            return
        if self._unsent:
            self._unsent += data
        else:
            sent = self._send(data)
            if sent < 0 or sent == len(data):
                return
            self._unsent += data[sent:]
            self._loop.add_writer(self._fd, self._sendable)
        if not self._full and len(self._unsent) > self._high:
            self._full = True
            self._protocol.pause_writing()

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """How much of it was sent; -1 if the client has gone."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._lose(error)
            return -1

    def _sendable(self) -> None:
        sent = self._send(self._unsent)
        if sent < 0:
            return
        del self._unsent[:sent]
        if self._full and len(self._unsent) <= self._low:
            self._full = False
            self._protocol.resume_writing()  # may write, or end it all
        if not self._unsent:
            self._loop.remove_writer(self._fd)
            if self._closing:
                self._lose(None)
            elif self._sends_end:
                self._shut()

    def get_write_buffer_size(self) -> int:
        """See asyncio."""
        return len(self._unsent)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio."""
        self._high = _UNSENT if high is None else high
        self._low = self._high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        """See asyncio."""
        return True

    def write_eof(self) -> None:
        """See asyncio."""
        if self._closing or self._sends_end:
            return
        self._sends_end = True
        if not self._unsent:
            self._shut()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._lose(error)

    # ------------------------------------------------------------ the end

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._closing

    def close(self) -> None:
        """See asyncio."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._fd)
        if not self._unsent:
            self._lose(None)

    def abort(self) -> None:
        """See asyncio."""
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = self._closing = True
        self._loop.remove_reader(self._fd)
        if self._unsent:
            self._loop.remove_writer(self._fd)
            self._unsent.clear()
        self._loop.call_soon(self._tell_lost, error)  # not amid what the protocol does

    def _tell_lost(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, _NOBODY  # which refers to us
        try:
            protocol.connection_lost(error)
        finally:
            self._socket.close()

    # ------------------------------------------------------------ the rest

    def get_extra_info(self, name: str, default: object = None) -> object:
        """`socket`, and nothing else."""
        return self._socket if name == "socket" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See asyncio."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See asyncio."""
        return self._protocol


_NOBODY = asyncio.Protocol()
