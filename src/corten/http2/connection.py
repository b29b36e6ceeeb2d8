"""One connection: frames in, frames out, streams in between (RFC 9113).

The same for both ends (`ends.py`). What a peer can make us keep is bounded: by the windows, by the number of
streams, by the size of a block of header fields, and by not reading from who does not read.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from corten.http2 import frames
from corten.http2.errors import ConnectionFault, ErrorCode, StreamFault, StreamLost
from corten.http2.frames import ACK, END_STREAM, HAS_PRIORITY, MAX_LENGTH, PADDED, STREAM_ID
from corten.http2.headerblock import HeaderReader
from corten.http2.hpack import Fields
from corten.http2.hpack.encoder import NO_TABLE
from corten.http2.outbox import Outbox
from corten.http2.rawstream import RawStream
from corten.http2.settings import CONNECTION_WINDOW, DEFAULT_WINDOW, MAX_WINDOW, PeerSettings
from corten.http2.stream import Stream
from corten.http2.window import Window

log = logging.getLogger(__name__)

_ACTIONS = (  # what to do with frames, by their kind
    "_data",
    "_headers",
    "_priority",
    "_rst_stream",
    "_settings",
    "_push_promise",
    "_ping",
    "_goaway",
    "_window_update",
    "_continuation",
)
_MAX_RESETS = 1000  # by which streams that came to nothing may outnumber others (CVE-2023-44487, -2025-8671)


class Connection(ABC):
    """What both ends have in common; the consumer of its raw stream."""

    _actions: ClassVar[tuple[Callable[[Connection, int, int, bytes], None], ...]]

    def __init__(self, stream: RawStream) -> None:
        """stream: on which the peer has been greeted, see `settings`."""
        self._stream = stream
        self.outbox = Outbox(stream)
        self.peer = PeerSettings()
        self.send_window = DEFAULT_WINDOW
        self.blocked: dict[int, Stream] = {}
        """Streams that have more to send than the windows allow."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._streams: dict[int, Stream] = {}
        self._last_id = 0  # of the streams that the client has opened
        self._window = Window(CONNECTION_WINDOW)
        self._block = HeaderReader()
        self._partial = b""
        self._resets = 0
        self._greeted = False
        self._is_for_streams = False  # what comes now: who uses them may have an answer
        self._block_prefix = NO_TABLE
        self._expected = b""  # of what comes before the first frame

    def __init_subclass__(cls) -> None:
        cls._actions = tuple(getattr(cls, name) for name in _ACTIONS)

    def start(self) -> None:
        """Begin: what has come already is acted on before this returns."""
        self._stream.start(self)

    @property
    def open_streams(self) -> int:
        """How many streams have not ended."""
        return len(self._streams)

    def lull(self, seconds: float) -> None:
        """Read nothing for so long: what the peer sends in very small pieces then comes in larger ones."""
        self._stream.pause()
        asyncio.get_running_loop().call_later(seconds, self._end_lull)

    def _end_lull(self) -> None:
        if not self.ended.done() and not self.outbox.paused:
            self._stream.resume()

    def close(self) -> None:
        """Send what has been said and drop the connection."""
        if not self.ended.done():
            self.outbox.flush()
            self._stream.abort()
            self.on_lost()

    # -- the raw stream's consumer ----------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Bytes from the peer. What breaks the protocol ends the connection."""
        if self.ended.done():
            return
        self.outbox.hold()
        self._is_for_streams = False
        try:
            self._feed(self._partial + data if self._partial else data)
        except ConnectionFault as fault:
            self._fail(fault)
        except Exception:
            log.exception("an unexpected error in HTTP/2")
            self._fail(ConnectionFault(ErrorCode.INTERNAL_ERROR, "internal error"))
        finally:
            self.outbox.release(answers=self._is_for_streams)

    def on_end(self) -> None:
        """HTTP/2 knows no half-closed connections."""
        self.close()

    def on_lost(self) -> None:
        """The peer has gone."""
        if self.ended.done():
            return
        self.ended.set_result(None)
        streams, self._streams = self._streams, {}
        self.blocked.clear()
        for stream in streams.values():
            stream.lose(StreamLost("the connection was lost"))

    def on_writable(self) -> None:
        """The peer takes data again."""
        self.outbox.unblock()
        self._pump()

    # -- frames that come -------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        start, size = self._skip_preface(data) if self._expected else 0, len(data)
        read_head, head_size, actions = frames.HEAD.unpack_from, frames.HEAD.size, self._actions
        block = self._block
        while size - start >= head_size:
            high, low, kind, flags, identifier = read_head(data, start)
            length = high << 8 | low
            if length > MAX_LENGTH:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = start + head_size + length
            if end > size:
                break
            identifier &= STREAM_ID
            if not self._greeted and kind != frames.SETTINGS:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no settings at first")
            if block.stream and (kind != frames.CONTINUATION or identifier != block.stream):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame amid a block of header fields")
            if kind < len(actions):  # others may come, and mean nothing (RFC 9113, 5.5)
                try:
                    actions[kind](self, flags, identifier, data[start + head_size : end])
                except StreamFault as fault:
                    self._end_stream(identifier, fault)
            start = end
        self._partial = data[start:]

    def _skip_preface(self, data: bytes) -> int:
        """How many bytes come before the first frame. Raises ConnectionFault."""
        expected = self._expected
        if not (data.startswith(expected) or expected.startswith(data)):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        length = min(len(data), len(expected))
        self._expected = expected[length:]
        return length

    def _data(self, flags: int, identifier: int, payload: bytes) -> None:
        self._is_for_streams = True
        size = len(payload)
        if not self._window.take(size):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than was allowed")
        stream = self._streams.get(identifier)
        if stream is None:
            self._check_known(identifier)
            self.give_back(size)
            return
        try:
            stream.receive_data(
                frames.unpadded(flags, payload) if flags & PADDED else payload,
                size,
                end=bool(flags & END_STREAM),
            )
        except StreamFault:
            self.give_back(size)
            raise

    def _headers(self, flags: int, identifier: int, payload: bytes) -> None:
        if not identifier:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "header fields of no stream")
        if flags & (PADDED | HAS_PRIORITY):
            payload = frames.header_fragment(flags, payload)
        self._take_block(identifier, self._block.begin(identifier, flags, payload))

    def _continuation(self, flags: int, identifier: int, payload: bytes) -> None:
        if not self._block.stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the continuation of nothing")
        self._take_block(identifier, self._block.add(flags, payload))

    def _take_block(self, identifier: int, fields: Fields | None) -> None:
        self._is_for_streams = True
        if fields is not None and (stream := self._streams.get(identifier) or self._accept(identifier)):
            stream.receive_headers(fields, end=self._block.ends_stream)

    @abstractmethod
    def _accept(self, identifier: int) -> Stream | None:
        """The stream that the peer begins, if it may. Raises ConnectionFault, StreamFault."""

    def _priority(self, flags: int, identifier: int, payload: bytes) -> None:
        if not identifier:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the priority of no stream")
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "a priority of the wrong size")

    def _rst_stream(self, flags: int, identifier: int, payload: bytes) -> None:
        code = number_in(payload)
        stream = self._streams.get(identifier)
        if stream is None:
            self._check_known(identifier)
            return
        self.forget(identifier)
        self._count_reset()
        stream.lose(StreamLost(f"the peer has ended the stream ({_name(code)})"))

    def _settings(self, flags: int, identifier: int, payload: bytes) -> None:
        if identifier:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings of a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "settings in an acknowledgement")
            return
        self._greeted = True
        before = self.peer.window
        self.peer.update(payload)
        self.outbox.put(frames.frame(frames.SETTINGS, ACK, 0))
        if change := self.peer.window - before:
            for stream in self._streams.values():
                stream.send_window += change
                if stream.send_window > MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
        self._pump()

    def _push_promise(self, flags: int, identifier: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "push, which was refused")

    def _ping(self, flags: int, identifier: int, payload: bytes) -> None:
        if identifier:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a ping of the wrong size")
        if not flags & ACK:
            self.outbox.put(frames.frame(frames.PING, ACK, 0, payload))

    def _goaway(self, flags: int, identifier: int, payload: bytes) -> None:
        """Streams that were opened go on to their end; the peer closes the connection."""
        if identifier:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that goes away")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a farewell that is cut off")

    def _window_update(self, flags: int, identifier: int, payload: bytes) -> None:
        increment = number_in(payload) & MAX_WINDOW
        if not identifier:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window that grows by nothing")
            self.send_window += increment
            if self.send_window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
            self._pump()
            return
        stream = self._streams.get(identifier)
        if stream is None:
            self._check_known(identifier)
            return
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a window that grows by nothing")
        stream.widen(increment)
        self._pump()

    def _check_known(self, identifier: int) -> None:
        """Frames may come for streams that have ended, and not for those that nobody has begun."""
        if not identifier or identifier > self._last_id or identifier % 2 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {identifier} is not open")

    # -- frames that are sent ---------------------------------------------------------------------

    def send_headers(self, identifier: int, block: bytes, *, end: bool) -> None:
        """A block of header fields (`hpack.encode`)."""
        if self._block_prefix:
            block, self._block_prefix = self._block_prefix + block, b""
        self.outbox.put(frames.headers(identifier, block, end=end, max_length=self.peer.max_frame))

    def give_back(self, count: int) -> None:
        """So many bytes of data have been used; the peer may send as many again."""
        if increment := self._window.give_back(count):
            self.outbox.put(frames.window_update(0, increment))

    def reset(self, identifier: int, code: ErrorCode) -> None:
        """End a stream."""
        self.forget(identifier)
        self.outbox.put(frames.reset(identifier, code))

    def forget(self, identifier: int) -> None:
        """A stream has ended."""
        self._streams.pop(identifier, None)
        self.blocked.pop(identifier, None)
        if self._resets:
            self._resets -= 1

    def _pump(self) -> None:
        """Let those send that have waited, in the order in which they have."""
        if self.blocked and self.send_window > 0 and not self.outbox.blocked:
            blocked, self.blocked = self.blocked, {}
            for stream in blocked.values():
                stream.pump()

    def _end_stream(self, identifier: int, fault: StreamFault) -> None:
        """The peer has broken the rules in a stream. Raises ConnectionFault if it does nothing else."""
        stream = self._streams.get(identifier)
        self.reset(identifier, fault.code)
        self._count_reset()
        if stream is not None:
            stream.lose(StreamLost(str(fault)))

    def _count_reset(self) -> None:
        self._resets += 2  # one of which `forget` takes back
        if self._resets > _MAX_RESETS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams that come to nothing")

    def _fail(self, fault: ConnectionFault) -> None:
        log.debug("broken HTTP/2 from a peer", extra={"reason": str(fault), "code": fault.code.name})
        self.outbox.put(frames.goaway(self._last_id, fault.code, str(fault)))
        self.close()


def number_in(payload: bytes) -> int:
    """What a frame holds that is one number of four bytes. Raises ConnectionFault."""
    if len(payload) != 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame of the wrong size")
    return int.from_bytes(payload, "big")


def _name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)
