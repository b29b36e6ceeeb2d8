"""A connection turned into a raw stream, either direction of which may end before the other."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from corten.api.limits import LINGER_S, LOW_WATER
from corten.api.sockets import unread_bytes

if TYPE_CHECKING:
    import socket

    from corten.api.server import Server

_HEAD_POLL_S = 0.0005, 0.01  # the first pause and the longest: each is twice the one before
_HEAD_S = 5.0  # a client may wait for a processor for long


class Consumer(Protocol):
    """Who gets what the client sends, on the event loop and without delay."""

    def on_data(self, data: bytes) -> None:
        """Bytes from the client; call `pause()` if they come too fast."""

    def on_end(self) -> None:
        """The client has ended its sending; ours goes on."""

    def on_lost(self) -> None:
        """The client has gone."""

    def on_writable(self) -> None:
        """The client takes data again after `writable` was False."""


class HijackedStream(asyncio.Protocol):
    """The raw stream. Until `start()` what the client sends is kept (and reading pauses early)."""

    def __init__(
        self,
        transport: asyncio.Transport,
        server: Server,
        early: bytes,
        *,
        ended: bool,
        paused: bool,
    ) -> None:
        self._transport = transport
        self._server = server
        self._early = early
        self._consumer: Consumer | None = None
        self._reading = True
        self._drain: asyncio.Future[None] | None = server.loop.create_future() if paused else None
        self._gone: asyncio.Future[None] | None = None  # waited for by who finishes
        self.ended = ended
        self.lost = False
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        server.streams.add(self)
        if ended:
            self._watch()

    # asyncio's callbacks

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._consumer is not None:
            self._consumer.on_data(data)
            return
        self._early += data
        if len(self._early) > LOW_WATER:
            self.pause()

    def eof_received(self) -> bool:
        """Half-close: our side stays open."""
        self.ended = True
        self._settle()
        if self._consumer is not None:
            self._consumer.on_end()
        if not self._transport.is_closing():
            self._watch()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or we have closed."""
        self.ended = self.lost = True
        self._server.streams.discard(self)
        if self._socket is not None and self._socket.fileno() >= 0:
            self._server.hangups.forget(self._socket.fileno())
        self.resume_writing()
        self._settle()
        consumer, self._consumer = self._consumer, None  # which refers to us
        if consumer is not None:
            consumer.on_lost()

    def pause_writing(self) -> None:
        """The client does not take what we send."""
        self._drain = self._server.loop.create_future()

    def resume_writing(self) -> None:
        """It does again."""
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)
        if self._consumer is not None and not self.lost:
            self._consumer.on_writable()

    # the user's side

    def start(self, consumer: Consumer) -> None:
        """Deliver what came and what comes."""
        self._consumer = consumer
        early, self._early = self._early, b""
        self.resume()  # before the consumer may pause
        if early:
            consumer.on_data(early)
        if self.lost:
            consumer.on_lost()
        elif self.ended:
            consumer.on_end()

    def write(self, data: bytes) -> None:
        """Send; look at `writable` afterwards. Without effect when the client has gone."""
        if not self.lost:
            self._transport.write(data)

    async def send(self, data: bytes) -> None:
        """Send and wait while the client does not take it. Raises ConnectionResetError."""
        self.write(data)
        if self._drain is not None:
            await self._drain
        if self.lost:
            raise ConnectionResetError("the client has gone")

    async def head_taken(self) -> None:
        """Wait, for some seconds at most, until the client has read the head before anything follows it.

        docker-py reads the head through a buffer and the stream past it: what comes in the same read is lost.
        """
        pause, longest = _HEAD_POLL_S
        until = self._server.loop.time() + _HEAD_S
        while not self.lost and self._socket is not None and unread_bytes(self._socket):
            if self._server.loop.time() > until:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    @property
    def writable(self) -> bool:
        """Whether the client takes data."""
        return self._drain is None

    def pause(self) -> None:
        """Take no more from the client for now."""
        if self._reading and not self.ended:
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take from the client again."""
        if not self._reading and not self.ended:
            self._reading = True
            self._transport.resume_reading()

    async def finish(self) -> None:
        """End our sending, let the client read it all and close; then close ourselves."""
        self._consumer = _Deaf()
        self.resume()
        if not self.lost:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            if not self.ended:
                self._gone = self._server.loop.create_future()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        await self._gone
        self._transport.close()

    def abort(self) -> None:
        """Drop the client."""
        self._transport.abort()

    def _watch(self) -> None:
        if self._socket is not None and self._socket.fileno() >= 0:
            self._server.hangups.watch(self._socket.fileno(), self._transport.abort)

    def _settle(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)


class _Deaf:
    """Takes what comes after the end."""

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_lost(self) -> None: ...

    def on_writable(self) -> None: ...
