"""Frames of multiplexed output: one byte of stream, three of nothing, four of length, then the bytes.

Docker's stdcopy (Engine API, "Stream format"): stream 0 stdin, 1 stdout, 2 stderr, 3 an error of the engine.
"""

from __future__ import annotations

from corten.client.errors import ClientError

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
_HEADER = 8


class FrameError(ClientError):
    """The bytes are no frames."""


class Demultiplexer:
    """Sans-I/O: bytes in, (stream, bytes) out, as soon as they come: payloads are not gathered."""

    __slots__ = ("_header", "_left", "_stream")

    def __init__(self) -> None:
        self._header = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes | memoryview]]:
        """Take bytes; give the pieces of payload in them. Raises FrameError."""
        pieces: list[tuple[int, bytes | memoryview]] = []
        view = memoryview(data)
        at = 0
        while at < len(view):
            if not self._left:
                take = _HEADER - len(self._header)
                self._header += bytes(view[at : at + take])
                at += take
                if len(self._header) < _HEADER:
                    break
                self._stream = self._header[0]
                if self._stream > SYSTEM_ERROR:
                    raise FrameError(f"Unrecognized input header: {self._stream}")
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
                continue
            piece = view[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            pieces.append((self._stream, piece))
        return pieces
