"""What is sent: the frames of one turn of the event loop in one piece, as each piece wakes the peer."""

from __future__ import annotations

import asyncio

from corten.http2.rawstream import RawStream

_FULL = 64 << 10  # bytes that are not held back any longer, or are too much for a peer that does not read


class Outbox:
    """Frames on their way to the peer. `blocked`: it does not take them; data waits with its streams then.

    What is kept here meanwhile is answers, to pings say, of which flow control knows nothing. When they pile
    up the peer is not read from either; not before, as it may be waiting for us to read.
    """

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._scheduled = False
        self._held = False
        self._paused = False
        self.blocked = False

    def put(self, data: bytes) -> None:
        """Send, soon."""
        self._unsent += data
        if len(self._unsent) >= _FULL:
            if self.blocked and not self._paused:
                self._paused = True
                self._stream.pause()
            self.flush()
        elif not self._scheduled and not self._held:
            self._schedule()

    def hold(self) -> None:
        """Send nothing small before `release`: there is more to come."""
        self._held = True

    def release(self, *, answers: bool) -> None:
        """Send what has been held back; `answers`: after all that is about to run, tasks that answer."""
        self._held = False
        if not answers:
            self.flush()
        elif self._unsent and not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Send what is here now, if the peer takes it."""
        if self._unsent and not self.blocked:
            unsent, self._unsent = self._unsent, bytearray()
            self._stream.write(bytes(unsent))
            self.blocked = not self._stream.writable

    @property
    def paused(self) -> bool:
        """Whether the peer is not read from."""
        return self._paused

    def unblock(self) -> None:
        """The peer takes data again."""
        self.blocked = False
        if self._paused:
            self._paused = False
            self._stream.resume()
        self.flush()
