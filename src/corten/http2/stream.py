"""One stream: a request and its answer, both of which may go on for long (RFC 9113, 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corten.http2 import frames
from corten.http2.errors import ErrorCode, StreamFault, StreamLost
from corten.http2.hpack import Fields
from corten.http2.settings import MAX_WINDOW, STREAM_WINDOW
from corten.http2.waiters import Waiters
from corten.http2.window import Window

if TYPE_CHECKING:
    from corten.http2.connection import Connection


class Stream:
    """The protocol's side. Who uses it implements what begins with `on_`, which are called without delay."""

    # What few streams come to change: most are over soon.
    sent_end = False
    received_end = False
    lost: StreamLost | None = None
    _held = 0  # bytes that have come and not been used
    _last: bytes | None = None  # what ends our side when all is sent: a block of trailers, or nothing
    _drained: Waiters | None = None

    def __init__(self, connection: Connection, identifier: int) -> None:
        self.connection = connection
        self.id = identifier
        self.send_window = connection.peer.window
        self._window = Window(STREAM_WINDOW)
        self._unsent = bytearray()

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
        if self.received_end:
            raise _after_end()
        self.on_headers(fields)
        if end:
            self._end_received()

    def receive_data(self, data: bytes, size: int, *, end: bool) -> None:
        """size: with padding, as flow control counts. Raises StreamFault."""
        if self.received_end:
            raise _after_end()
        if not self._window.take(size):
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than was allowed")
        self._held += size
        if size > len(data):
            self.give_back(self._held - (size - len(data)))
        if data:
            self.on_data(data)
        if end:
            self._end_received()

    def _end_received(self) -> None:
        self.received_end = True
        if self.sent_end:
            self.connection.forget(self.id)
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
        self._tell_drained()

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

    def send_headers(self, block: bytes) -> None:
        """Begin with header fields (`hpack.encode`). Raises StreamLost."""
        self._check_sending()
        self.connection.send_headers(self.id, block, end=False)

    def write(self, data: bytes, *, end: bool = False) -> None:
        """Send what the peer takes now and keep the rest: see `drained`. Raises StreamLost."""
        self._check_sending()
        self._unsent += data
        if end:
            self._last = b""
        self.pump()

    def finish(self, trailers: bytes, data: bytes = b"") -> None:
        """End our side with more content and, after all of it, header fields. Raises StreamLost."""
        self._check_sending()
        self._unsent += data
        self._last = trailers
        self.pump()

    def _check_sending(self) -> None:
        if self.lost is not None:
            raise self.lost
        if self.sent_end or self._last is not None:
            raise StreamLost("our side of the stream has ended")

    def pump(self) -> None:
        """Send what the windows allow, and the connection."""
        connection, unsent, last = self.connection, self._unsent, self._last
        while unsent:
            size = min(len(unsent), self.send_window, connection.send_window, connection.peer.max_frame)
            if size <= 0 or connection.outbox.blocked:
                connection.blocked[self.id] = self
                return
            data = bytes(unsent[:size])
            del unsent[:size]
            self.send_window -= size
            connection.send_window -= size
            is_last = not unsent and last == b""
            flags = frames.END_STREAM if is_last else 0
            connection.outbox.put(frames.frame(frames.DATA, flags, self.id, data))
            if is_last:
                self._end_sent()
                return
        if last:
            connection.send_headers(self.id, last, end=True)
            self._end_sent()
        elif last is not None:
            connection.outbox.put(frames.frame(frames.DATA, frames.END_STREAM, self.id))
            self._end_sent()
        else:
            self._tell_drained()

    def _end_sent(self) -> None:
        self.sent_end = True
        self._last = None
        self._tell_drained()
        if self.received_end:
            self.connection.forget(self.id)

    def _tell_drained(self) -> None:
        if self._drained is not None:
            self._drained.wake()

    async def drained(self) -> None:
        """Wait until the peer has taken what was written. Raises StreamLost."""
        while self._unsent and self.lost is None:
            if self._drained is None:
                self._drained = Waiters()
            await self._drained.wait()
        if self.lost is not None:
            raise self.lost

    def reset(self, code: ErrorCode) -> None:
        """End both sides now, if they have not ended."""
        if self.lost is None and not (self.sent_end and self.received_end):
            self.connection.reset(self.id, code)
            self.lose(StreamLost("the stream was reset"))


def _after_end() -> StreamFault:
    return StreamFault(ErrorCode.STREAM_CLOSED, "frames after the end of a stream")
