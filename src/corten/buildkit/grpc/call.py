"""One call, as either end sees it: messages both ways, each behind five bytes that say how long it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from corten.buildkit.grpc.status import GRPCError, Status
from corten.http2.connection import Connection
from corten.http2.errors import StreamLost
from corten.http2.stream import Stream
from corten.http2.waiters import Waiters

_PREFIX = 5
_MAX_MESSAGE = 16 << 20  # as BuildKit has it

Received = TypeVar("Received", bound=Message)
Sent = TypeVar("Sent", bound=Message)


class Call(Stream, Generic[Received, Sent]):
    """The messages of a call. One task receives at a time; several may send."""

    _news: Waiters | None = None

    def __init__(self, connection: Connection, identifier: int, received_type: type[Any]) -> None:
        super().__init__(connection, identifier)
        self._received_type: type[Any] = received_type
        self._received = bytearray()

    # -- the stream's callbacks -------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """See Stream."""
        self._received += data
        self._tell_news()

    def on_end(self) -> None:
        """See Stream."""
        self._tell_news()

    def on_lost(self, error: StreamLost) -> None:
        """See Stream."""
        self._tell_news()

    def _tell_news(self) -> None:
        if self._news is not None:
            self._news.wake()

    # -- receiving --------------------------------------------------------------------------------

    async def recv_message(self) -> Received | None:
        """The next message; None after the last. Raises GRPCError, StreamLost."""
        while (message := self.take_message()) is None:
            if not await self._more():
                if self._received:
                    raise GRPCError(Status.INTERNAL, "a message that is cut off")
                return None
        return message

    def lacks(self) -> bool:
        """Whether more must come before there is a message. Raises GRPCError."""
        return len(self._received) < _end_of_message(self._received)

    def take_message(self) -> Received | None:
        """The next message if all of it has come. Raises GRPCError."""
        received = self._received
        end = _end_of_message(received)
        if len(received) < end:
            return None
        data = bytes(received[_PREFIX:end])
        del received[:end]
        self.give_back(min(self._held, len(received)))
        try:
            message: Received = self._received_type.FromString(data)
        except DecodeError:
            raise GRPCError(Status.INTERNAL, "a message that is none of the method's") from None
        return message

    async def recv_bytes(self) -> bytes:
        """What has come, messages with their prefixes; b"" after the last. Raises GRPCError, StreamLost.

        For calls of very many messages, each of which costs more by `recv_message` than what is in it.
        """
        while not self._received:
            if not await self._more():
                return b""
        data = bytes(self._received)
        self._received.clear()
        self.give_back(0)
        return data

    async def __aiter__(self) -> AsyncIterator[Received]:
        while (message := await self.recv_message()) is not None:
            yield message

    async def _more(self) -> bool:
        """Wait for more; False if there will be none. All that has come is wanted now. Raises StreamLost."""
        if self.received_end:
            self._check_outcome()
            return False
        if self.lost is not None:
            raise self.lost
        self.give_back(0)
        self.connection.outbox.flush()  # what the peer is waited for may depend on it
        if self._news is None:
            self._news = Waiters()
        await self._news.wait()
        return True

    def _check_outcome(self) -> None:
        """Raises GRPCError if the peer has ended the call with one."""

    # -- sending ----------------------------------------------------------------------------------

    async def send_message(self, message: Sent, *, end: bool = False) -> None:
        """Send a message; wait while the peer does not take it. end: it is the last. Raises StreamLost."""
        await self.send_bytes(framed(message), end=end)

    async def send_bytes(self, data: bytes, *, end: bool = False) -> None:
        """Send messages with their prefixes, any number at once. Raises StreamLost."""
        self.write(data, end=end)
        if self._unsent:
            await self.drained()


def framed(message: Message) -> bytes:
    """A message as it is sent."""
    data = message.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def _end_of_message(received: bytearray) -> int:
    """Where the message ends that begins here, as far as can be told. Raises GRPCError."""
    if len(received) < _PREFIX:
        return _PREFIX
    if received[0]:
        raise GRPCError(Status.UNIMPLEMENTED, "a compressed message, which was not asked for")
    size = int.from_bytes(received[1:_PREFIX], "big")
    if size > _MAX_MESSAGE:
        raise GRPCError(
            Status.RESOURCE_EXHAUSTED, f"received message larger than max ({size} vs. {_MAX_MESSAGE})"
        )
    return _PREFIX + size
