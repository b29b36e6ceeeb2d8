"""Docker's multiplexed stream: stdout and stderr of a container in one connection.

    byte 0     1  2  3     4 .. 7            8 ..
    stream     0  0  0     length, big end   payload
    (1 stdout, 2 stderr; 0 stdin, 3 an error of the engine)

Source: Engine API 1.51, "Stream format" of POST /containers/{id}/attach.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

STDIN, STDOUT, STDERR, SYSTEM_ERROR = range(4)
HEADER_LENGTH = 8
MAX_FRAME = 16 << 20
"""Longer payloads are refused by the decoder: what claims so much is not this protocol."""

_HEADER = struct.Struct(">B3xI")


class FrameError(ValueError):
    """The bytes are not a multiplexed stream."""


def header(stream: int, length: int) -> bytes:
    """The header of a frame."""
    return _HEADER.pack(stream, length)


def frame(stream: int, payload: bytes) -> bytes:
    """One frame."""
    return _HEADER.pack(stream, len(payload)) + payload


class Decoder:
    """Takes bytes as they arrive, gives whole frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (stream, payload) of each frame that is complete. Raises FrameError."""
        buffer = self._buffer
        buffer += data
        position = 0
        try:
            while len(buffer) - position >= HEADER_LENGTH:
                stream, length = _HEADER.unpack_from(buffer, position)
                if stream > SYSTEM_ERROR or length > MAX_FRAME:
                    raise FrameError(f"unrecognized stream: {stream}")
                end = position + HEADER_LENGTH + length
                if len(buffer) < end:
                    return
                payload = bytes(buffer[position + HEADER_LENGTH : end])
                position = end
                yield stream, payload
        finally:
            del buffer[:position]

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame; not 0 at the end of the stream means that it was cut."""
        return len(self._buffer)
