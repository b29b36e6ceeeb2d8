"""The two ends of a connection: a `Server` accepts streams, a `Client` opens them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from corten.http2 import frames
from corten.http2.connection import Connection, number_in
from corten.http2.errors import ConnectionFault, ErrorCode, StreamFault, StreamLost
from corten.http2.frames import STREAM_ID
from corten.http2.rawstream import RawStream
from corten.http2.stream import Stream
from corten.http2.waiters import Waiters

T = TypeVar("T", bound=Stream)


class Server(Connection):
    """The end that accepts streams, and makes each of `accept`."""

    def __init__(self, stream: RawStream, accept: Callable[[Server, int], Stream | None]) -> None:
        """accept: None if there are too many already."""
        super().__init__(stream)
        self._make = accept
        self._expected = frames.PREFACE

    def _accept(self, identifier: int) -> Stream | None:
        if identifier % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that only a server opens")
        if identifier <= self._last_id:
            return None  # it has ended
        self._last_id = identifier
        stream = self._make(self, identifier)
        if stream is None:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "too many streams")
        self._streams[identifier] = stream
        return stream


class Client(Connection):
    """The end that opens streams."""

    def __init__(self, stream: RawStream) -> None:
        super().__init__(stream)
        self._slots = Waiters()
        self._going = False

    async def open(self, make: Callable[[Client, int], T]) -> T:
        """A new stream, as soon as the peer takes one more. Raises StreamLost if it never will."""
        while len(self._streams) >= self.peer.max_streams and not self.ended.done():
            await self._slots.wait()
        if self.ended.done() or self._going or self._last_id >= STREAM_ID:
            raise StreamLost("the connection was lost")
        self._last_id += 2 if self._last_id else 1
        stream = make(self, self._last_id)
        self._streams[self._last_id] = stream
        return stream

    def forget(self, identifier: int) -> None:
        """See Connection."""
        super().forget(identifier)
        self._slots.wake()

    def on_lost(self) -> None:
        """See Connection."""
        super().on_lost()
        self._slots.wake()

    def _settings(self, flags: int, identifier: int, payload: bytes) -> None:
        super()._settings(flags, identifier, payload)
        self._slots.wake()  # there may be more of them

    def _goaway(self, flags: int, identifier: int, payload: bytes) -> None:
        super()._goaway(flags, identifier, payload)
        self._going = True
        last = number_in(payload[:4]) & STREAM_ID
        for stream in [each for each in self._streams.values() if each.id > last]:
            self.forget(stream.id)
            stream.lose(StreamLost("the peer takes no more streams"))

    def _accept(self, identifier: int) -> Stream | None:
        self._check_known(identifier)
        return None  # it has ended
