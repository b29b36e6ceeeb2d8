"""gRPC on connections that are open already: the hijacked ones of POST /grpc and POST /session.

grpclib wants an asyncio transport; `StreamTransport` makes one of a raw stream of the API server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, cast

from grpclib.client import Channel
from grpclib.client import Handler as ClientHandler
from grpclib.client import Stream as ClientStream
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from grpclib.protocol import Buffer, Connection, EventsProcessor, H2Protocol
from grpclib.protocol import Stream as H2Stream
from grpclib.server import Handler as ServerHandler
from grpclib.server import Stream
from grpclib.utils import Wrapper
from h2.config import H2Configuration

from corten.buildkit.frames import FrameJoiner
from corten.buildkit.proto import rpc_pb2

# The windows decide how much of a context a slow disk may leave in memory.
_CONFIGURATION = Configuration(http2_connection_window_size=4 << 20, http2_stream_window_size=1 << 20)
_MAX_MESSAGE = 16 << 20  # as BuildKit has it
_FULL = 64 << 10  # bytes that are not held back any longer

log = logging.getLogger(__name__)


class RawStream(Protocol):
    """A connection after its upgrade; implemented by `corten.api.hijack.HijackedStream`."""

    def start(self, consumer: Any) -> None:
        """Deliver what comes to on_data, on_end, on_lost, on_writable of the consumer."""

    def write(self, data: bytes) -> None:
        """Send; without effect when the peer has gone."""

    def pause(self) -> None:
        """Take nothing from the peer for now."""

    def resume(self) -> None:
        """Take from the peer again."""

    def abort(self) -> None:
        """Drop the connection."""

    @property
    def writable(self) -> bool:
        """Whether the peer takes data."""


class StreamTransport(asyncio.Transport):
    """A RawStream as the transport of an asyncio protocol, which it starts and feeds.

    What is written in one round of the event loop is sent at once: a call is many small frames, and each that
    is sent by itself wakes the peer. `filter`: what comes from the peer goes through it first.
    """

    def __init__(
        self, stream: RawStream, protocol: asyncio.Protocol, filter: Callable[[bytes], bytes] | None = None
    ) -> None:
        super().__init__()
        self._filter = filter
        self._stream = stream
        self._protocol = protocol
        self._closed = False
        self._paused = False
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def begin(self) -> None:
        """Connect the two."""
        self._protocol.connection_made(self)
        self._stream.start(self)

    # what the stream tells us

    def on_data(self, data: bytes) -> None:
        """Bytes from the peer. Frames that grpclib or h2 stumble over end the connection."""
        try:
            self._protocol.data_received(self._filter(data) if self._filter else data)
        except Exception:
            log.debug("broken HTTP/2 from a client", exc_info=True)
            self.close()

    def on_end(self) -> None:
        """HTTP/2 knows no half-closed connections."""
        self.close()

    def on_lost(self) -> None:
        """The peer has gone."""
        self._closed = True
        if not self.ended.done():
            self.ended.set_result(None)
            self._protocol.connection_lost(None)

    def on_writable(self) -> None:
        """The peer takes data again."""
        if self._paused:
            self._paused = False
            self._stream.resume()
            self._protocol.resume_writing()

    # what the protocol asks of us

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += data
        if len(self._unsent) >= _FULL:
            self._flush()

    def _flush(self) -> None:
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, bytearray()
        self._stream.write(bytes(unsent))
        if not self._stream.writable and not self._paused:
            self._paused = True
            self._stream.pause()  # pings want answers too, and flow control knows only of data
            self._protocol.pause_writing()

    def close(self) -> None:
        """See asyncio.Transport."""
        if not self._closed:
            self._flush()
            self._closed = True
            self._stream.abort()

    def abort(self) -> None:
        """See asyncio.Transport."""
        self.close()

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport; there is no socket to be had."""
        return default


class _Buffer(Buffer):
    """What has come of one call. Empty frames, which no flow control stops, are not kept."""

    def add(self, data: bytes, ack_size: int) -> None:
        if ack_size:
            super().add(data, ack_size)

    async def take(self) -> bytes:
        """All that has come, at least a byte; b"" at the end. Not to be mixed with `read`."""
        if self._eof and self._unacked.empty():
            return b""
        waiting = [await self._unacked.get()]
        while not self._unacked.empty():
            waiting.append(self._unacked.get_nowait())
        self._ack_callback(sum(each.ack_size for each in waiting))
        return b"".join(each.data for each in waiting)


class _H2Stream(H2Stream):
    """One call; messages of it are bounded."""

    def init_stream(self, stream_id: int, connection: Connection) -> None:
        super().init_stream(stream_id, connection)
        self.buffer = _Buffer(partial(connection.ack, stream_id))

    async def recv_data(self, size: int) -> bytes:
        if size > _MAX_MESSAGE:
            message = f"received message larger than max ({size} vs. {_MAX_MESSAGE})"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, message)
        return await super().recv_data(size)

    async def recv_available(self) -> bytes:
        """The bytes of messages that have come, b"" after the last."""
        buffer = self.buffer
        assert isinstance(buffer, _Buffer)
        return await buffer.take()


class _Connection(Connection):
    def create_stream(self, *, stream_id: int | None = None, wrapper: Wrapper | None = None) -> H2Stream:
        return _H2Stream(self, self._connection, self._transport, stream_id=stream_id, wrapper=wrapper)


class _H2Protocol(H2Protocol):
    """grpclib's, which trusts its peer with our memory, with bounds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        h2 = self.connection._connection
        self.connection = _Connection(h2, cast(asyncio.Transport, transport), config=self.config)
        self.processor = EventsProcessor(self.handler, self.connection)


class _Methods(dict[str, Handler]):
    """Handlers by path. For unknown paths one that says so with all headers that Go's client insists on."""

    def get(self, path: str, default: object = None) -> Handler:
        return super().get(path) or _UNKNOWN


async def _unknown(stream: Stream[Any, Any]) -> None:
    raise GRPCError(Status.UNIMPLEMENTED, "unknown method")


_UNKNOWN = Handler(_unknown, Cardinality.STREAM_STREAM, rpc_pb2.Empty, rpc_pb2.Empty)


class ErrorDetails(StatusDetailsCodecBase):
    """grpc-status-details-bin: an encoded google.rpc.Status, which is what GRPCError.details holds here."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """See StatusDetailsCodecBase."""
        document = rpc_pb2.Status(code=status.value, message=message or "", details=details or ())
        return document.SerializeToString()

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        """See StatusDetailsCodecBase."""
        return list(rpc_pb2.Status.FromString(data).details)


async def serve(stream: RawStream, methods: Mapping[str, Handler]) -> None:
    """Serve gRPC on a stream until the peer has gone; its calls are cancelled then."""
    handler = ServerHandler(
        _Methods(methods), ProtoCodec(), ErrorDetails(), cast(Any, _DispatchServerEvents)()
    )
    configuration = H2Configuration(
        client_side=False,
        header_encoding="ascii",
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )
    protocol = _H2Protocol(handler, _CONFIGURATION.__for_server__(), configuration)
    transport = StreamTransport(stream, protocol)
    transport.begin()
    try:
        await transport.ended
    finally:
        transport.close()
        handler.close()
        await handler.wait_closed()


class StreamChannel(Channel):
    """A gRPC client's channel over a stream; lasts as long as the stream."""

    def __init__(self, stream: RawStream) -> None:
        super().__init__("localhost", 0, config=_CONFIGURATION, status_details_codec=ErrorDetails())
        self._authority = "localhost"
        self._stream = stream
        self._transport: StreamTransport | None = None

    def open(self) -> asyncio.Future[None]:
        """Begin; the future is done when the peer has gone."""
        protocol = self._protocol_factory()
        self._protocol = protocol
        self._transport = transport = StreamTransport(self._stream, protocol, FrameJoiner().feed)
        transport.begin()
        return transport.ended

    def _protocol_factory(self) -> H2Protocol:
        return _H2Protocol(ClientHandler(), self._config, self._h2_config)

    async def _create_connection(self) -> H2Protocol:
        raise ConnectionResetError("the client's session has ended")

    def close(self) -> None:
        """Drop the connection."""
        super().close()
        if self._transport is not None:
            self._transport.close()


async def receive_bytes(stream: ClientStream[Any, Any]) -> bytes:
    """What has come of a call's answer, messages with their prefixes; b"" after the last. Raises GRPCError.

    For calls of very many messages, each of which costs more by `recv_message` than what is in it.
    """
    if not stream._recv_initial_metadata_done:
        await stream.recv_initial_metadata()
    h2_stream = stream._stream
    assert isinstance(h2_stream, _H2Stream)
    with stream._wrapper:
        data = await h2_stream.recv_available()
    if not data:
        await stream.recv_trailing_metadata()
    return data


async def send_bytes(stream: ClientStream[Any, Any], data: bytes, *, end: bool = False) -> None:
    """Send messages with their prefixes, any number at once."""
    with stream._wrapper:
        await stream._stream.send_data(data, end_stream=end)
    stream._send_message_done = True
    stream._end_done = end
