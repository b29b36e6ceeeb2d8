"""Bytes on their way to a client: in memory, or still in a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_READ = 256 << 10


@dataclass(frozen=True, slots=True)
class FilePiece:
    """A part of an open file, which the kernel can send by itself.

    The fd is that of whoever gives the piece, and open until the next one is asked for.
    """

    fd: int
    offset: int
    length: int

    def read(self) -> Iterator[bytes]:
        """Its bytes. Blocks. Raises OSError (EIO: the file has become shorter)."""
        at, end = self.offset, self.offset + self.length
        while at < end:
            data = os.pread(self.fd, min(_READ, end - at), at)
            if not data:
                raise OSError(errno.EIO, "a file is shorter than it was")
            at += len(data)
            yield data


Piece: TypeAlias = bytes | FilePiece
