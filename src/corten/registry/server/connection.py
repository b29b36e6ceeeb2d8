"""One client of the registry: requests in, replies out, in order.

What happens on a connection is a generator, which yields what has to come before it can go on. So the same
steps serve a connection in a loop with all others, where nothing may block, and in a thread of its own.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from enum import Enum
from math import inf
from typing import ParamSpec, TypeAlias, TypeVar

from corten.registry.server.errors import Refused, WouldWait
from corten.registry.server.messages import BodyBroken, FileBody, Reply, Request, RequestBody
from corten.wire.head import BadHead, Head
from corten.wire.http1 import CONTINUE, ProtocolError

log = logging.getLogger(__name__)

TIMEOUT_S = 60
"""How long a client may keep us waiting for bytes of its, or for room for ours."""
_HEAD_S = 30  # a started head must be complete after this
_MAX_HEAD = 64 << 10
_RECEIVE = 256 << 10
_DISCARD = 1 << 20  # an unread body up to this is skipped to keep the connection
_TURN = 2 << 20  # bytes of a file before it is others' turn; as nginx has it
_LINGER_S = 2

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[Request], Reply]


class Wait(Enum):
    """What a connection waits for."""

    READ = "bytes from the client"
    WRITE = "room for bytes to it"
    THREAD = "a thread, where the next steps may block"
    LOOP = "to get rid of that thread"


Steps: TypeAlias = "Generator[Wait, None, None]"


class Connection:
    """A client's socket, served by `proceed`.

    tls: then it has a thread for as long as it lasts. deadline: when we have waited for the client for long
    enough, on the monotonic clock; never, while the client waits for us.
    """

    def __init__(self, handler: Handler, sock: socket.socket, peer: str, tls: ssl.SSLContext | None) -> None:
        self.number = sock.fileno()
        self.deadline = time.monotonic() + TIMEOUT_S
        self._handler = handler
        self._socket = sock
        self._peer = peer.removeprefix("::ffff:")
        self._tls = tls
        self._patience_s = TIMEOUT_S
        self._rest = b""
        self._idle = True
        self._stopping = False
        self._blocks = False
        self._steps = self._serve()

    def proceed(self) -> Wait | None:
        """Go on until it has to wait; None: it is over, and wants `close`."""
        self.deadline = inf
        try:
            wait = next(self._steps)
        except (StopIteration, OSError):  # an OSError: the client is gone, too slow, or does not speak TLS
            return None
        except Exception:
            log.exception("unexpected error")
            return None
        self.deadline = time.monotonic() + self._patience_s
        return wait

    def stop(self) -> None:
        """End after the request that is being answered. Any thread."""
        self._stopping = True
        if self._idle:
            self.abort()

    def abort(self) -> None:
        """End now: whoever waits for the socket will see. Any thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give up everything."""
        self._steps.close()
        self._socket.close()

    # -- steps ----------------------------------------------------------------------------------

    def _serve(self) -> Steps:
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            yield from self._enter_thread()
            wrapped = self._tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
            self._socket = wrapped  # now, so that `abort` ends the handshake
            self._awaited(wrapped.do_handshake)
        while not self._stopping and (yield from self._one_request()):
            if self._rest and not self._blocks:
                yield Wait.WRITE  # the next one is here already, but it is others' turn
            elif self._blocks and self._tls is None and not self._rest:
                yield from self._leave_thread()
        yield from self._linger()

    def _enter_thread(self) -> Steps:
        yield Wait.THREAD
        self._blocks = True
        if self._tls is not None:
            self._socket.settimeout(TIMEOUT_S)
            return
        # The kernel's own timeouts: with Python's, every call would be poll(2) and a non-blocking one.
        self._socket.setblocking(True)
        limit = struct.pack("@ll", TIMEOUT_S, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _leave_thread(self) -> Steps:
        self._socket.setblocking(False)
        self._blocks = False
        yield Wait.LOOP

    def _awaited(self, call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What may wait for the client, where that blocks."""
        self.deadline = time.monotonic() + TIMEOUT_S
        try:
            return call(*args, **named)
        finally:
            self.deadline = inf

    def _linger(self) -> Steps:
        """Let the client read our last words: to close with unread bytes is a reset, which takes them."""
        self._socket.shutdown(socket.SHUT_WR)
        self._patience_s = _LINGER_S
        if self._blocks:
            self._socket.settimeout(_LINGER_S)
        left, until = _DISCARD, time.monotonic() + _LINGER_S
        while left > 0 and time.monotonic() < until and (data := (yield from self._received())):
            left -= len(data)

    # -- in -------------------------------------------------------------------------------------

    def _received(self) -> Generator[Wait, None, bytes]:
        """What comes next; b"" at the end."""
        while not self._blocks:
            yield Wait.READ
            with suppress(BlockingIOError):
                return self._socket.recv(_RECEIVE)
        return self._awaited(self._socket.recv, _RECEIVE)

    def _one_request(self) -> Generator[Wait, None, bool]:
        """Whether another one may follow."""
        self._idle = True
        data = yield from self._read_head()
        if data is None:
            return False
        self._idle = False
        try:
            head = Head(data)
            decoder = head.body_decoder()
        except BadHead as e:
            yield from self._send(_complaint(e.status, e), close=True)
            return False
        body = RequestBody(
            decoder,
            self._rest,
            self._receive_body,
            (lambda: self._socket.sendall(CONTINUE)) if head.expects_continue else None,
        )
        request = Request(
            head.method.decode("latin-1"), head.target, head.headers, body, self._peer, self._tls is not None
        )
        reply = self._at_once(request) if decoder is None and not self._blocks else None
        if reply is None:
            if not self._blocks:
                yield from self._enter_thread()
            reply = self._handled(request)
        keep = head.keep_alive and not self._stopping and _skipped(request)
        yield from self._send(reply, close=not keep, head_only=request.method == "HEAD")
        self._rest = body.rest
        return keep

    def _read_head(self) -> Generator[Wait, None, bytes | None]:
        data = self._rest.lstrip(b"\r\n")  # RFC 9112, 2.2: empty lines before a request are skipped
        started = time.monotonic()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _MAX_HEAD or (data and time.monotonic() - started > _HEAD_S):
                yield from self._refuse(431)
                return None
            more = yield from self._received()
            if not more:
                return None
            if not data:
                started = time.monotonic()
                more = more.lstrip(b"\r\n")
                # What speaks TLS to a plain listener is told no at once, so that it tries plain.
                if more and not more[:1].isalpha():
                    yield from self._refuse(400)
                    return None
            data += more
        if end > _MAX_HEAD:
            yield from self._refuse(431)
            return None
        self._rest = data[end + 4 :]
        return data[: end + 4]

    def _receive_body(self) -> bytes:
        try:
            return self._awaited(self._socket.recv, _RECEIVE)
        except OSError as e:
            raise BodyBroken(str(e)) from e

    def _at_once(self, request: Request) -> Reply | None:
        """The answer, unless that takes waiting."""
        request.may_wait = False
        try:
            return self._handled(request)
        except WouldWait:
            request.may_wait = True
            return None

    def _handled(self, request: Request) -> Reply:
        try:
            return self._handler(request)
        except Refused as e:
            return Reply(e.status, {"Content-Type": "application/json", **e.headers}, e.document)
        except ProtocolError as e:
            return _complaint(400, e)
        except (BodyBroken, WouldWait):
            raise
        except Exception:
            log.exception("unexpected error", extra={"path": request.path[:200]})
            error = Refused("UNKNOWN", "internal error: see the registry's log")
            return Reply(error.status, {"Content-Type": "application/json"}, error.document)

    # -- out ------------------------------------------------------------------------------------

    def _refuse(self, status: int) -> Steps:
        yield from self._send(Reply(status), close=True)

    def _send(self, reply: Reply, *, close: bool, head_only: bool = False) -> Steps:
        body = reply.body
        try:
            head = reply.head(close=close)
            if head_only or reply.status in (204, 304):
                yield from self._send_bytes(head)
            elif isinstance(body, bytes):
                yield from self._send_bytes(head + body)
            elif not isinstance(body, FileBody):
                yield from self._send_bytes(head)
                for piece in body.pieces:
                    yield from self._send_bytes(piece)
            elif self._tls is not None:
                yield from self._send_bytes(head)
                yield from self._send_encrypted(body)
            else:
                yield from self._send_bytes(head, socket.MSG_MORE if body.length else 0)
                yield from self._send_file(body)
        finally:
            if not isinstance(body, bytes):
                body.close()

    def _send_bytes(self, data: bytes, flags: int = 0) -> Steps:
        left = memoryview(data)
        while left:
            try:
                left = left[self._awaited(self._socket.send, left, flags) :]
            except BlockingIOError:
                yield Wait.WRITE

    def _send_file(self, body: FileBody) -> Steps:
        offset, left = body.offset, body.length
        while left:
            try:
                sent = self._awaited(os.sendfile, self.number, body.file.fd, offset, min(left, _TURN))
            except BlockingIOError:
                yield Wait.WRITE
                continue
            if not sent:
                raise BodyBroken("file is shorter than it was")
            offset, left = offset + sent, left - sent
            if left and not self._blocks:
                yield Wait.WRITE  # also if there is room: others may be waiting, too

    def _send_encrypted(self, body: FileBody) -> Steps:
        offset, left = body.offset, body.length
        while left:
            data = os.pread(body.file.fd, min(left, _RECEIVE), offset)
            if not data:
                raise BodyBroken("file is shorter than it was")
            yield from self._send_bytes(data)
            offset, left = offset + len(data), left - len(data)


def _complaint(status: int, error: ProtocolError) -> Reply:
    return Reply(status, {"Content-Type": "text/plain"}, f"{error}\n".encode())


def _skipped(request: Request) -> bool:
    """Whether the connection stands at the next request, once a rest of this one's body is thrown away."""
    if request.body.done:
        return True
    if request.body.awaits_continue or request.body.abandoned:
        return False
    left = _DISCARD
    try:
        for piece in request.body:
            left -= len(piece)
            if left < 0:
                return False
    except ProtocolError:
        return False
    return True
