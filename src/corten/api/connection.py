"""One client connection: requests in, answers out, one at a time and in order.

    idle ─► head ─► (body) ─► handler ─► answer ─► (unread body skipped) ─► idle
                                 └─► hijacked: the protocol is replaced, see `api.hijack`

Only heads go through llhttp; where a request ends is known exactly, so that what follows it can be
the next (pipelined) request or the early bytes of a hijacked stream. That the client went away
cancels the handler, unless its route says otherwise: a container half started or stopped would be no
good. On unix sockets half-closing is not going away (see `api.hangup`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol

from corten.api import response
from corten.api.body import Body, IncompleteBody
from corten.api.filesender import chunk_head, read_piece, send_chunks
from corten.api.hijack import HijackedStream
from corten.api.limits import DISCARD, LINGER_S, MAX_HEAD, PIPELINE
from corten.api.request import Request
from corten.api.response import Answer
from corten.api.sockets import keep_alive
from corten.api.status import answer_of, error_answer
from corten.types.pieces import FilePiece
from corten.wire.head import BadHead, read_head
from corten.wire.http1 import CONTINUE, LAST_CHUNK, ChunkedDecoder, LengthDecoder, ProtocolError, chunk

if TYPE_CHECKING:
    from corten.api.server import Server

log = logging.getLogger(__name__)

# What an HTTP/2 client that asks nobody begins with (RFC 9113, 3.4), as far as it looks like a request.
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\n"
_AS_REQUEST = b"POST /grpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


class Application(Protocol):
    """What answers requests."""

    @property
    def hears_all(self) -> bool:
        """See `keptanswers.Hearing`."""

    def dispatch(self, request: Request) -> Answer | Coroutine[object, object, Answer | None]:
        """Answer at once, or give the coroutine that will; None = it streamed or hijacked."""


class Connection(asyncio.Protocol):
    """The server's side of a connection."""

    def __init__(self, server: Server, *, trusted_host: bool, browsers: bool) -> None:
        """trusted_host: the Host header need not be checked; browsers: a web page could be behind it."""
        self._server = server
        self._application = server.application
        self.trusted_host = trusted_host
        self.browsers = browsers
        self.socket: socket.socket | None = None
        self.idle_since = server.tick
        self._transport: asyncio.Transport
        self._loop = server.loop
        # the request being answered
        self._request: Request | None = None
        self._http10 = False
        self._keep_alive = True
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._hijacked: HijackedStream | None = None
        self._unasked = False
        # its body, and what came behind it
        self._body = _NO_BODY
        self._decoder: LengthDecoder | ChunkedDecoder | None = None
        self._discarding: int | None = None
        self._rest = b""
        # the state of the transport
        self._read_pauses = 0
        self._writable: asyncio.Future[None] | None = None
        self._ended = False
        self._lost = False
        self._closing = False

    # ------------------------------------------------------------ asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.socket = transport.get_extra_info("socket")
        if self.browsers and self.socket is not None:
            keep_alive(self.socket)
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived: body, beginning of a request, or something for later."""
        if self._closing:
            return
        if self._is_free() and not self._rest and not self.browsers:
            answer = self._server.kept.find(data)
            if answer is not None:
                self.idle_since = self._server.tick
                self._transport.write(answer)
                return
        if self._decoder is not None:
            self._receive_body(data, self._decoder)
        else:
            self._rest = self._rest + data if self._rest else data
        if self._is_free():
            self._next_requests()
        elif len(self._rest) > PIPELINE:
            self._pause_reading()

    def eof_received(self) -> bool:
        """The client has ended its sending; perhaps it has gone."""
        self._ended = True
        if self._closing or self._discarding is not None:
            return False
        if self._is_free() or (self._request is None and not self._rest):
            return False
        if self._decoder is not None:
            self._body.fail(IncompleteBody("unexpected EOF in the request body"))
        if self.socket is not None and self.socket.family == socket.AF_UNIX:
            self._server.hangups.watch(self.socket.fileno(), self._hung_up)
            return True
        self._hung_up()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._lost = self._closing = True
        self._server.connections.discard(self)
        self.unwatch()
        self._body.fail(IncompleteBody("connection lost in the request body"))
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self._task is not None:
            self._abandon(self._task)

    def pause_writing(self) -> None:
        """The client does not take what we send."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It does again."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        if self._request is None and not self._closing:
            self._resume_reading()
            self._next_requests()

    # ------------------------------------------------------------ requests

    def _is_free(self) -> bool:
        """Nothing is being answered, and the client takes what was: answers are not to fill our memory."""
        return self._request is None and self._writable is None

    def _next_requests(self) -> None:
        while self._is_free() and not self._closing:
            data = self._rest
            if data[:1] in (b"\r", b"\n"):  # RFC 9112, 2.2: robust servers skip an empty line
                data = data.lstrip(b"\r\n")
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                if len(data) > MAX_HEAD:
                    self._refuse(431, "request header too large")
                elif self._ended:
                    self._close()
                return
            self._rest = data[end + 4 :]
            if end > MAX_HEAD:
                self._refuse(431, "request header too large")
                return
            self._begin(data[: end + 4])

    def _begin(self, data: bytes) -> None:
        if data == _HTTP2:
            # The same as POST /grpc, with the same rights, but for the answer that nobody waits for.
            self._rest = data + self._rest
            self._unasked = True
            data = _AS_REQUEST
        try:
            head = read_head(data)
            self._decoder = head.body_decoder()
        except BadHead as error:
            self._refuse(error.status, str(error))
            return
        self._http10 = head.http10
        self._keep_alive = head.keep_alive
        body = _NO_BODY
        if self._decoder is not None:
            body = self._body = Body(self._flow, self._send_continue if head.expects_continue else None)
        self._request = request = Request(self, head.method, head.target, head.headers, body)
        if self._decoder is not None and self._rest:
            early, self._rest = self._rest, b""
            self._receive_body(early, self._decoder)
        result = self._application.dispatch(request)
        if not isinstance(result, Answer):
            self._task = self._server.run(self._run(result))
        elif self._hijacked is not None:  # too late for an answer: who was to use the stream has failed
            self._transport.abort()
        else:
            self._answer(result)
            if result.lasting and body is _NO_BODY and not self._closing and not self.browsers:
                self._server.kept.keep(data, result, head_only=head.method == b"HEAD")

    async def _run(self, handler: Coroutine[object, object, Answer | None]) -> None:
        try:
            answer = await handler
        except asyncio.CancelledError:
            self._closing = True
            self._transport.close()
            return
        except ConnectionError:  # the client's going, noticed while writing
            self._transport.abort()
            return
        except Exception as error:  # the application maps errors; this one came too late for that
            if self._lost or self._streaming or self._hijacked is not None:
                log.exception("unexpected error in an answer under way")
                self._transport.abort()
                return
            answer = answer_of(error)
        finally:
            self._task = None
        if self._hijacked is not None or self._lost:
            self._request = None  # which refers to us
            return
        if answer is not None:
            self._answer(answer)
        else:
            self._end_stream()
        self._next_requests()

    # ------------------------------------------------------------ bodies

    def _send_continue(self) -> None:
        self._transport.write(CONTINUE)

    def _receive_body(self, data: bytes, decoder: LengthDecoder | ChunkedDecoder) -> None:
        try:
            pieces = [*decoder.feed(data)]
            if pieces:  # as one: every piece costs its reader a turn, and Go's chunks are small
                self._take(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        except ProtocolError as error:
            self._body.fail(IncompleteBody(str(error)))
            self._keep_alive = False
            if self._discarding is not None:
                self._close()
            return
        if decoder.done:
            self._rest = decoder.rest
            self._decoder = None
            self._body.finish()
            if self._discarding is not None and not self._closing:
                self._done()

    def _take(self, data: bytes) -> None:
        if self._discarding is None:
            self._body.feed(data)
            return
        self._discarding -= len(data)
        if self._discarding < 0:
            self._close()

    def _flow(self, pause: bool) -> None:
        if pause:
            self._pause_reading()
        else:
            self._resume_reading()

    # ------------------------------------------------------------ answers

    def _answer(self, answer: Answer) -> None:
        request = self._request
        assert request is not None
        close = not self._may_keep()
        self._transport.write(response.whole(answer, head_only=request.method == b"HEAD", close=close))
        self._finish(close=close)

    def start_stream(self, status: int, content_type: bytes, headers: bytes = b"") -> None:
        """Send the head of a streamed answer."""
        if self._lost:
            raise ConnectionResetError("the client has gone")
        self._streaming = True
        if self._http10:
            self._keep_alive = False
        self._transport.write(
            response.stream_head(
                status, content_type, headers, chunked=not self._http10, close=not self._may_keep()
            )
        )

    def write_piece(self, data: bytes) -> None:
        """Send a piece of a streamed answer. Raises ConnectionResetError."""
        if self._lost:
            raise ConnectionResetError("the client has gone")
        self._transport.write(data if self._http10 else chunk(data))

    async def write_file(self, piece: FilePiece) -> None:
        """Send a part of a file; by the kernel, if nothing stands between us and the socket.

        Raises ConnectionError, OSError.
        """
        if self._http10 or self.socket is None or self.tls is not None:
            async for data in read_piece(piece):
                self.write_piece(data)
                await self.drained()
        elif piece.length:
            self._transport.set_write_buffer_limits(0)  # drained is then: sent
            self._transport.write(chunk_head(piece.length))
            await self.drained()
            await send_chunks(self.socket, piece)
            self._transport.set_write_buffer_limits()

    async def drained(self) -> None:
        """Wait until the client takes data again. Raises ConnectionResetError."""
        if self._writable is not None:
            await self._writable
        if self._lost:
            raise ConnectionResetError("the client has gone")

    def _end_stream(self) -> None:
        if not self._streaming:
            self._answer(error_answer(500, "the handler gave no answer"))
            return
        self._streaming = False
        if not self._http10:
            self._transport.write(LAST_CHUNK)
        self._finish(close=not self._may_keep())

    def _may_keep(self) -> bool:
        if not self._keep_alive or (self._ended and not self._rest):
            return False
        decoder = self._decoder
        return decoder is None or (not self._body.awaits_continue and decoder.remaining <= DISCARD)

    def _finish(self, *, close: bool) -> None:
        if close:
            self._close()
        elif self._decoder is None:
            self._done()
        else:
            self._discarding = DISCARD
            self._body.discard()

    def _done(self) -> None:
        """Ready for the next request."""
        self._request = None
        self._discarding = None
        self._body = _NO_BODY
        self.idle_since = self._server.tick
        if self._read_pauses:
            self._resume_reading()

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request; where the next one would begin is not known."""
        self._transport.write(response.whole(error_answer(status, message), head_only=False, close=True))
        self._close(unread=True)

    # ------------------------------------------------------------ hijacking

    def hijack(self, head: bytes, greeting: bytes) -> HijackedStream:
        """Send the answer's head and the greeting; hand the transport over, with what came early."""
        if self._lost:
            raise ConnectionResetError("the client has gone")
        if self._decoder is not None:
            raise ProtocolError("hijacked before the body was read")
        self._transport.write(greeting if self._unasked else head + greeting)
        early, self._rest = self._rest, b""
        if self._ended:
            self.unwatch()
        self._hijacked = HijackedStream(
            self._transport,
            self._server,
            early,
            ended=self._ended,
            paused=self._writable is not None,
        )
        self._server.connections.discard(self)
        self._transport.set_protocol(self._hijacked)
        if self._read_pauses and not self._ended:
            self._transport.resume_reading()
        return self._hijacked

    # ------------------------------------------------------------ the transport

    def expire(self) -> None:
        """Called by the server's clock when nothing has come for too long."""
        if self._request is None and not self._closing:
            if self._rest:
                self._refuse(408, "timeout while reading the request header")
            else:
                self._closing = True
                self._transport.close()

    @property
    def waits_for_head(self) -> bool:
        """A request has begun to arrive."""
        return self._is_free() and bool(self._rest)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS session that it is in."""
        found = self._transport.get_extra_info("ssl_object")
        return found if isinstance(found, ssl.SSLObject) else None

    def abort(self) -> None:
        """Drop the client."""
        self._transport.abort()

    def shut(self) -> None:
        """Close, but let a whole answer that is being made go out first (orderly stop)."""
        self._keep_alive = False
        if self._request is None:
            self._transport.close()
        elif self._streaming:
            self._hung_up()

    def _hung_up(self) -> None:
        if self._task is not None:
            self._abandon(self._task)
        else:
            self._transport.close()

    def _abandon(self, handling: asyncio.Task[None]) -> None:
        if self._request is None or not self._request.outlives_client:
            handling.cancel()

    def unwatch(self) -> None:
        """Stop listening for a hang-up."""
        if self._ended and self.socket is not None and self.socket.fileno() >= 0:
            self._server.hangups.forget(self.socket.fileno())

    def _close(self, *, unread: bool = False) -> None:
        """Close so that the client can read our last bytes: unread ones would make it a reset."""
        self._closing = True
        transport = self._transport
        unread = unread or self._decoder is not None or bool(self._rest) or bool(self._read_pauses)
        if self._ended or not unread or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self._rest = b""
        if self._read_pauses:
            self._read_pauses = 0
            transport.resume_reading()
        self._loop.call_later(LINGER_S, transport.abort)

    def _pause_reading(self) -> None:
        if not self._read_pauses and not self._ended:
            self._read_pauses = 1
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_pauses and not self._ended:
            self._read_pauses = 0
            self._transport.resume_reading()


_NO_BODY = Body.of(b"")
