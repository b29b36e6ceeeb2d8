"""The end that calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from corten.buildkit.grpc.call import Call, Received, Sent
from corten.buildkit.grpc.status import GRPCError, Status, outcome
from corten.http2.ends import Client
from corten.http2.errors import ErrorCode, StreamLost
from corten.http2.hpack import Fields, encode
from corten.http2.rawstream import RawStream

Reply = TypeVar("Reply", bound=Message)
AnyCall = TypeVar("AnyCall", bound="ClientCall[Any, Any]")


@lru_cache(maxsize=32)  # our own paths
def _beginning(path: str) -> bytes:
    return encode(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"corten"),
        ]
    )


class ClientCall(Call[Received, Sent], Generic[Received, Sent]):
    """A call of ours."""

    def __init__(self, connection: Client, identifier: int, received_type: type[Received]) -> None:
        super().__init__(connection, identifier, received_type)
        self._said: dict[bytes, bytes] = {}

    def on_headers(self, fields: Fields) -> None:
        """See Stream."""
        self._said.update(fields)

    def _check_outcome(self) -> None:
        error = outcome(self._said)
        if error is not None:
            raise error

    def end(self) -> None:
        """We have said all. Raises StreamLost."""
        self.write(b"", end=True)

    async def ended(self) -> None:
        """Wait for the end; what still comes is of no interest. Raises GRPCError, StreamLost."""
        while await self.recv_bytes():
            pass


class Channel:
    """Calls over one stream; lasts as long as the stream."""

    def __init__(self, stream: RawStream) -> None:
        self._connection = Client(stream)

    def open(self) -> asyncio.Future[None]:
        """Begin; the future is done when the peer has gone."""
        self._connection.start()
        return self._connection.ended

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()

    async def begin(
        self,
        path: str,
        make: Callable[[Client, int], AnyCall],
        metadata: Iterable[tuple[str, str]] = (),
    ) -> AnyCall:
        """A call that acts by itself on what comes. Nobody need wait for its end. Raises StreamLost."""
        call = await self._connection.open(make)
        fields = [(name.encode(), value.encode()) for name, value in metadata]
        call.send_headers(_beginning(path) + encode(fields))
        return call

    @asynccontextmanager
    async def stream(
        self, path: str, reply_type: type[Reply], metadata: Iterable[tuple[str, str]] = ()
    ) -> AsyncIterator[ClientCall[Reply, Any]]:
        """A call with messages both ways. At the end of the block it is waited for, or ended by an error.

        Raises GRPCError as the peer answers, StreamLost.
        """
        call = await self.begin(path, partial(ClientCall, received_type=reply_type), metadata)
        try:
            yield call
            await call.ended()
        except StreamLost:
            if call.received_end:
                call._check_outcome()  # says more
            raise
        finally:
            call.give_back(0)
            call.reset(ErrorCode.CANCEL)  # without effect if both have said all

    async def call(self, path: str, request: Message, reply_type: type[Reply], *, timeout_s: float) -> Reply:
        """One message, and its answer. Raises GRPCError, StreamLost, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            timeout = [("grpc-timeout", f"{timeout_s * 1000:.0f}m")]
            async with self.stream(path, reply_type, timeout) as call:
                await call.send_message(request, end=True)
                reply = await call.recv_message()
        if reply is None:
            raise GRPCError(Status.INTERNAL, "an answer without a message")
        return reply
