"""One stream: a request and its answer, both of which may go on for long (RFC 9113, 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corten.http2 import frames
from corten.http2.errors import ErrorCode, StreamFault, StreamLost
from corten.http2.hpack import Fields
from corten.http2.settings import MAX_WINDOW
from corten.http2.waiters import Waiters
from corten.http2.window import Window

if TYPE_CHECKING:
    from corten.http2.connection import Connection

WINDOW = 1 << 20
"""Bytes of a stream that may have come and not be used: what a slow disk may leave in memory of a context."""


class Stream:
    """The protocol's side. Who uses it implements what begins with `on_`, which are called without delay."""

    def __init__(self, connection: Connection, identifier: int) -> None:
        self.connection = connection
        self.id = identifier
        self.send_window = connection.peer.window
        self.sent_end = False
        self.received_end = False
        self.lost: StreamLost | None = None
        self._window = Window(WINDOW)
        self._held = 0
        self._unsent = bytearray()
        self._last: Fields | None = None  # what ends our side when all is sent: trailers, or nothing
        self._drained = Waiters()

    # -- what comes, for who uses the stream ------------------------------------------------------

    def on_headers(self, fields: Fields) -> None:
        """Header fields, of the beginning or of the end. Raises StreamFault."""

    def on_data(self, data: bytes) -> None:
        """Content; `give_back` says when it has been used."""

    def on_end(self) -> None:
        """The peer has said all."""

    def on_lost(self, error: StreamLost) -> None:
        """The stream has ended before both sides have said all."""

    # -- what comes, from the connection ----------------------------------------------------------

    def receive_headers(self, fields: Fields, *, end: bool) -> None:
        """Raises StreamFault."""
        self._check_open()
        self.on_headers(fields)
        if end:
            self._end_received()

    def receive_data(self, data: bytes, size: int, *, end: bool) -> None:
        """size: with padding, as flow control counts. Raises StreamFault."""
        self._check_open()
        if not self._window.take(size):
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than was allowed")
        self._held += size
        if size > len(data):
            self.give_back(self._held - (size - len(data)))
        if data:
            self.on_data(data)
        if end:
            self._end_received()

    def _check_open(self) -> None:
        if self.received_end:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "frames after the end of a stream")

    def _end_received(self) -> None:
        self.received_end = True
        self._close_if_done()
        self.on_end()

    def widen(self, increment: int) -> None:
        """The peer takes more, or less. Raises StreamFault."""
        self.send_window += increment
        if self.send_window > MAX_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")

    def lose(self, error: StreamLost) -> None:
        """It is over."""
        if self.lost is None and not (self.sent_end and self.received_end):
            self.lost = error
            self._unsent.clear()
            self._last = None
            self.on_lost(error)
            self.give_back(0)
        self._drained.wake()

    # -- what is used -----------------------------------------------------------------------------

    def give_back(self, held: int) -> None:
        """All but `held` bytes of what has come have been used; the peer may send as much again."""
        used = self._held - held
        if used <= 0:
            return
        self._held = held
        self.connection.give_back(used)
        if not self.received_end and self.lost is None and (increment := self._window.give_back(used)):
            self.connection.outbox.put(frames.window_update(self.id, increment))

    # -- what is sent -----------------------------------------------------------------------------

    def send_headers(self, fields: Fields) -> None:
        """Begin. Raises StreamLost."""
        self._check_sending()
        self.connection.send_headers(self.id, fields, end=False)

    def write(self, data: bytes, *, end: bool = False) -> None:
        """Send what the peer takes now and keep the rest: see `drained`. Raises StreamLost."""
        self._check_sending()
        self._unsent += data
        if end:
            self._last = []
        self.pump()

    def finish(self, trailers: Fields) -> None:
        """End our side with header fields, after all content. Raises StreamLost."""
        self._check_sending()
        self._last = trailers
        self.pump()

    def _check_sending(self) -> None:
        if self.lost is not None:
            raise self.lost
        if self.sent_end or self._last is not None:
            raise StreamLost("our side of the stream has ended")

    def pump(self) -> None:
        """Send what the windows allow, and the connection."""
        connection, unsent = self.connection, self._unsent
        while unsent:
            size = min(len(unsent), self.send_window, connection.send_window, connection.peer.max_frame)
            if size <= 0 or connection.outbox.blocked:
                connection.blocked[self.id] = self
                return
            data = bytes(unsent[:size])
            del unsent[:size]
            self.send_window -= size
            connection.send_window -= size
            is_last = not unsent and self._last == []
            flags = frames.END_STREAM if is_last else 0
            connection.outbox.put(frames.frame(frames.DATA, flags, self.id, data))
            if is_last:
                self._end_sent()
                return
        if self._last is not None:
            if self._last:
                connection.send_headers(self.id, self._last, end=True)
            else:
                connection.outbox.put(frames.frame(frames.DATA, frames.END_STREAM, self.id))
            self._end_sent()
        self._drained.wake()

    def _end_sent(self) -> None:
        self.sent_end = True
        self._last = None
        self._drained.wake()
        self._close_if_done()

    async def drained(self) -> None:
        """Wait until the peer has taken what was written. Raises StreamLost."""
        while self._unsent and self.lost is None:
            await self._drained.wait()
        if self.lost is not None:
            raise self.lost

    def reset(self, code: ErrorCode) -> None:
        """End both sides now, if they have not ended."""
        if self.lost is None and not (self.sent_end and self.received_end):
            self.connection.reset(self.id, code)
            self.lose(StreamLost("the stream was reset"))

    def _close_if_done(self) -> None:
        if self.sent_end and self.received_end:
            self.connection.forget(self.id)
