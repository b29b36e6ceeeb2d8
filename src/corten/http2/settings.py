"""What the two ends tell each other of themselves (RFC 9113, 6.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from corten.http2 import frames
from corten.http2.errors import ConnectionFault, ErrorCode
from corten.http2.frames import MAX_LENGTH

ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(2, 7)
MAX_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65_535
MAX_STREAMS = 100
"""That a peer may have open at a time; Go's server allows as many or more."""
MAX_HEADER_BLOCK = 64 << 10
"""Bytes of a block, as it is sent and as what it says is counted."""
STREAM_WINDOW = 1 << 20
"""Bytes of a stream that may have come and not be used: what a slow disk may leave in memory of a context."""
CONNECTION_WINDOW = 4 << 20
"""The same of all streams together."""

SERVER_GREETING = frames.settings(
    {
        ENABLE_PUSH: 0,
        MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        MAX_HEADER_LIST_SIZE: MAX_HEADER_BLOCK,
    }
) + frames.window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
CLIENT_GREETING = frames.PREFACE + SERVER_GREETING
"""What is said first. By who has the connection, before it is made one of HTTP/2: the peer waits for it."""

_LARGEST_FRAME = (1 << 24) - 1
_SETTING = struct.Struct(">HI")
_LENGTH = 6


@dataclass(slots=True)
class PeerSettings:
    """The peer's, as far as they concern what we send."""

    window: int = DEFAULT_WINDOW
    max_frame: int = MAX_LENGTH
    max_streams: int = MAX_WINDOW

    def update(self, payload: bytes) -> None:
        """Take what a frame says. Raises ConnectionFault."""
        if len(payload) % _LENGTH:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "settings that are cut off")
        for identifier, value in _SETTING.iter_unpack(payload):
            if identifier == INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                self.window = value
            elif identifier == MAX_FRAME_SIZE:
                if not MAX_LENGTH <= value <= _LARGEST_FRAME:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
                self.max_frame = value
            elif identifier == MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            elif identifier == ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "push that is neither on nor off")
