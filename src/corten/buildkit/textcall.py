"""A call for a few small files of a client's, which acts on each piece in the turn in which it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from corten.buildkit.grpc.call import framed
from corten.buildkit.grpc.client import ClientCall
from corten.buildkit.grpc.status import outcome
from corten.buildkit.proto.files_pb2 import ERROR, Packet
from corten.buildkit.receivedtexts import ReceivedTexts
from corten.buildkit.sessions import client_error
from corten.errors import Unavailable
from corten.http2.ends import Client
from corten.http2.errors import ErrorCode, StreamLost

ENDED = "the client ended the transfer of its files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What is in the files that have come (`ReceivedTexts.text`), and the bytes of messages."""

    text: Callable[[str], bytes | None]
    received_bytes: int


class TextCall(ClientCall[Packet, Packet]):
    """The files are there with the last of their content: the client's farewell comes to nobody.

    It comes to its end by itself, whether or not somebody waits for the files.
    """

    def __init__(self, connection: Client, identifier: int, names: Sequence[str]) -> None:
        super().__init__(connection, identifier, Packet)
        self._files = ReceivedTexts(names)
        self._received_bytes = 0
        self._fetched: asyncio.Future[Texts] = asyncio.get_running_loop().create_future()

    async def texts(self) -> Texts:
        """The files. Raises InvalidParameter, BadTree, Unavailable, GRPCError."""
        return await self._fetched

    # -- the stream's callbacks -------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """See Stream."""
        self._received_bytes += len(data)
        self.give_back(0)
        try:
            answers = self._files.feed(data)
        except Exception as error:
            self._fail(error)
            with suppress(StreamLost):  # we have said all
                self.write(framed(Packet(type=ERROR, data=str(error).encode())))
            self.reset(ErrorCode.CANCEL)
            return
        finished = self._files.finished
        if answers:
            # Go's server resets a stream that it ends before we have ended our side.
            self.write(answers, end=finished)
            self.connection.outbox.flush()  # before whoever waits for the files goes on
        if finished and not self._fetched.done():
            self._fetched.set_result(Texts(text=self._files.text, received_bytes=self._received_bytes))

    def on_end(self) -> None:
        """See Stream."""
        self._fail(outcome(self._said) or Unavailable(ENDED))

    def on_lost(self, error: StreamLost) -> None:
        """See Stream."""
        self._fail(client_error(error))

    def _fail(self, error: Exception) -> None:
        """Without effect once all is there."""
        if not self._fetched.done():
            self._fetched.set_exception(error)
            self._fetched.exception()  # whoever waits sees it; nobody need wait
