"""A session inside a gRPC call (Control.Session), for clients that have no HTTP to upgrade: buildctl, say."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

from corten.buildkit.grpc.call import Call
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.proto.control_pb2 import BytesMessage
from corten.http2.rawstream import Consumer

_AHEAD = 1 << 20  # bytes that the client may be behind
_PIECE = 64 << 10


class Tunnel:
    """The call as a raw stream (`corten.http2.rawstream.RawStream`)."""

    def __init__(self, call: Call[BytesMessage, BytesMessage]) -> None:
        self._call = call
        self._consumer: Consumer | None = None
        self._waiting = bytearray()
        self._wanted = asyncio.Event()
        self._open = asyncio.Event()  # to be read
        self._open.set()
        self._ended = False
        self._was_full = False

    async def run(self, serving: Coroutine[object, object, None]) -> None:
        """Carry bytes both ways while `serving` lasts, and no longer than the call."""
        session = asyncio.ensure_future(serving)
        pumps = [asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._send())]
        try:
            await asyncio.wait([session, *pumps], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ended = True
            if self._consumer is not None:
                self._consumer.on_lost()
            for task in (*pumps, session):
                task.cancel()
            for task in (*pumps, session):
                with suppress(asyncio.CancelledError, GRPCError, OSError):
                    await task

    async def _receive(self) -> None:
        while (message := await self._call.recv_message()) is not None:
            await self._open.wait()
            if self._consumer is not None:
                self._consumer.on_data(message.data)

    async def _send(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                piece = bytes(self._waiting[:_PIECE])
                del self._waiting[:_PIECE]
                await self._call.send_message(BytesMessage(data=piece))
            if self._was_full and self._consumer is not None and not self._ended:
                self._was_full = False
                self._consumer.on_writable()

    # what the session's transport asks of us

    def start(self, consumer: Consumer) -> None:
        """See RawStream."""
        self._consumer = consumer

    def write(self, data: bytes) -> None:
        """See RawStream."""
        if not self._ended:
            self._waiting += data
            self._wanted.set()

    def pause(self) -> None:
        """See RawStream."""
        self._open.clear()

    def resume(self) -> None:
        """See RawStream."""
        self._open.set()

    def abort(self) -> None:
        """See RawStream."""
        self._ended = True
        self._waiting.clear()
        if self._consumer is not None:
            self._consumer.on_lost()

    @property
    def writable(self) -> bool:
        """See RawStream."""
        full = len(self._waiting) > _AHEAD
        self._was_full = self._was_full or full
        return not full
