"""What is sent: the frames of one turn of the event loop in one piece, as each piece wakes the peer."""

from __future__ import annotations

import asyncio

from corten.http2.rawstream import RawStream
from corten.http2.waiters import Waiters

_FULL = 64 << 10  # bytes that are not held back any longer


class Outbox:
    """Frames on their way to the peer. While it does not take them it is not listened to either.

    Flow control knows only of data: answers to pings, say, could pile up otherwise.
    """

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._scheduled = False
        self._held = False
        self._waiters = Waiters()
        self._closed = False
        self.blocked = False

    def put(self, data: bytes) -> None:
        """Send, soon."""
        self._unsent += data
        if len(self._unsent) >= _FULL:
            self.flush()
        elif not self._scheduled and not self._held:
            self._schedule()

    def hold(self) -> None:
        """Send nothing small before `release`: there is more to come."""
        self._held = True

    def release(self) -> None:
        """Send what has been held back, after all that is about to run: tasks that answer, say."""
        self._held = False
        if self._unsent and not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Send what is here now."""
        if not self._unsent or self._closed:
            return
        unsent, self._unsent = self._unsent, bytearray()
        self._stream.write(bytes(unsent))
        if not self._stream.writable and not self.blocked:
            self.blocked = True
            self._stream.pause()

    def unblock(self) -> None:
        """The peer takes data again."""
        if self.blocked:
            self.blocked = False
            self._stream.resume()
            self._waiters.wake()

    async def wait(self) -> None:
        """Wait until the peer takes data again, or has gone."""
        while self.blocked and not self._closed:
            await self._waiters.wait()

    def close(self) -> None:
        """Nothing more can be sent."""
        self._closed = True
        self._unsent.clear()
        self._waiters.wake()
