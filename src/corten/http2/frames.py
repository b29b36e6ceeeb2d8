"""Frames: their names, their heads, and those that we send (RFC 9113, 4 and 6)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from corten.http2.errors import ConnectionFault, ErrorCode

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (RFC 9113, 3.4)."""

HEAD = struct.Struct(">HBBBI")
"""The head: length (24 bits, here 16 and 8), kind, flags, stream, whose highest bit means nothing."""

STREAM_ID = 0x7FFFFFFF
MAX_LENGTH = 1 << 14
"""Of a payload, as long as nobody has allowed more; we never do."""

_PRIORITY_LENGTH = 5


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it is sent."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    """A frame of settings."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """The peer may send so many bytes more; stream 0: on all streams together."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def reset(stream: int, code: ErrorCode) -> bytes:
    """The end of a stream."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: ErrorCode, text: str) -> bytes:
    """The end of a connection, of whose streams `last` is the last that was looked at."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + text.encode())


def headers(stream: int, block: bytes, *, end: bool, max_length: int) -> bytes:
    """A block of header fields: HEADERS, and as many CONTINUATION as it takes."""
    flags = END_STREAM if end else 0
    length = len(block)
    if length <= max_length:
        return HEAD.pack(length >> 8, length & 0xFF, HEADERS, flags | END_HEADERS, stream) + block
    pieces = [block[start : start + max_length] for start in range(0, len(block), max_length)]
    sent = [frame(HEADERS, flags, stream, pieces[0])]
    sent += [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    sent.append(frame(CONTINUATION, END_HEADERS, stream, pieces[-1]))
    return b"".join(sent)


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without its padding. Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without its length")
    end = len(payload) - payload[0]
    if end < 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return payload[1:end]


def header_fragment(flags: int, payload: bytes) -> bytes:
    """What HEADERS carries of a block, without padding and priority. Raises ConnectionFault."""
    payload = unpadded(flags, payload)
    if not flags & HAS_PRIORITY:
        return payload
    if len(payload) < _PRIORITY_LENGTH:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "priority that is cut off")
    return payload[_PRIORITY_LENGTH:]
