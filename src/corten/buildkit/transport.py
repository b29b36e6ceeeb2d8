"""gRPC on connections that are open already: the hijacked ones of POST /grpc and POST /session.

grpclib wants an asyncio transport; `StreamTransport` makes one of a raw stream of the API server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol, cast

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Handler as ServerHandler
from grpclib.server import Stream
from h2.config import H2Configuration

from corten.buildkit.proto import rpc_pb2

# The windows decide how much of a context a slow disk may leave in memory.
_CONFIGURATION = Configuration(http2_connection_window_size=4 << 20, http2_stream_window_size=1 << 20)


class RawStream(Protocol):
    """A connection after its upgrade; implemented by `corten.api.hijack.HijackedStream`."""

    def start(self, consumer: Any) -> None:
        """Deliver what comes to on_data, on_end, on_lost, on_writable of the consumer."""

    def write(self, data: bytes) -> None:
        """Send; without effect when the peer has gone."""

    def abort(self) -> None:
        """Drop the connection."""

    @property
    def writable(self) -> bool:
        """Whether the peer takes data."""


class StreamTransport(asyncio.Transport):
    """A RawStream as the transport of an asyncio protocol, which it starts and feeds."""

    def __init__(self, stream: RawStream, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._stream = stream
        self._protocol = protocol
        self._closed = False
        self._paused = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """Connect the two."""
        self._protocol.connection_made(self)
        self._stream.start(self)

    # what the stream tells us

    def on_data(self, data: bytes) -> None:
        """Bytes from the peer."""
        self._protocol.data_received(data)

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
            self._protocol.resume_writing()

    # what the protocol asks of us

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio.Transport."""
        self._stream.write(bytes(data))
        if not self._stream.writable and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """See asyncio.Transport."""
        if not self._closed:
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
    protocol = H2Protocol(handler, _CONFIGURATION.__for_server__(), configuration)
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
        self._transport = transport = StreamTransport(self._stream, protocol)
        transport.begin()
        return transport.ended

    async def _create_connection(self) -> H2Protocol:
        raise ConnectionResetError("the client's session has ended")

    def close(self) -> None:
        """Drop the connection."""
        super().close()
        if self._transport is not None:
            self._transport.close()
