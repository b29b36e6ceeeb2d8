"""HTTP/2 frames on their way to h2: those of DATA that follow one another are made one.

Go's gRPC sends each message in a frame of its own, a context of 20,000 files as many, and h2 takes longer
for a frame than for what is in it. Joined frames mean the same to flow control, which counts bytes
(RFC 9113, 5.2).
"""

from __future__ import annotations

_HEADER = 9
_MAX_LENGTH = 16384  # what we let the peer send in a frame (RFC 9113, 4.2)


class FrameJoiner:
    """Takes what the peer sends after its preface, in any pieces; gives whole frames."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> bytes:
        """The frames that are complete by now. A frame that is too long comes in pieces: h2 refuses it."""
        if self._partial:
            data = self._partial + data
        size = len(data)
        out: list[bytes] = []
        joined: list[bytes] = []
        joined_size = 0
        stream = b""
        start = 0
        while size - start >= _HEADER:
            length = data[start] << 16 | data[start + 1] << 8 | data[start + 2]
            if length > _MAX_LENGTH:
                end = size
            elif (end := start + _HEADER + length) > size:
                break
            if data[start + 3] or data[start + 4] or length > _MAX_LENGTH:  # not DATA, or with flags
                if joined:
                    out.append(_frame(stream, joined, joined_size))
                    joined, joined_size = [], 0
                out.append(data[start:end])
            else:
                identifier = data[start + 5 : start + _HEADER]
                if joined and (identifier != stream or joined_size + length > _MAX_LENGTH):
                    out.append(_frame(stream, joined, joined_size))
                    joined, joined_size = [], 0
                stream = identifier
                joined.append(data[start + _HEADER : end])
                joined_size += length
            start = end
        if joined:
            out.append(_frame(stream, joined, joined_size))
        self._partial = data[start:]
        return b"".join(out)


def _frame(stream: bytes, pieces: list[bytes], size: int) -> bytes:
    return b"".join((size.to_bytes(3, "big"), b"\0\0", stream, *pieces))
