"""What a request sends. A body can be opened again, so a request can be sent again."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Protocol


class Reader(Protocol):
    """The reading half of a file."""

    def read(self, length: int = -1, /) -> bytes:
        """At most `length` bytes (negative: all); empty at the end."""


class Body(Protocol):
    """Content of known length."""

    @property
    def length(self) -> int:
        """Bytes."""

    def open(self) -> Reader:
        """A reader from the beginning."""


class BytesBody:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def open(self) -> Reader:
        """See Body."""
        return io.BytesIO(self._data)


class FileBody:
    """`length` bytes of a file from `offset` on; the fd stays the caller's and keeps its position.

    on_sent: told the number of bytes of this body that have been read for sending.
    """

    def __init__(
        self, fd: int, offset: int, length: int, on_sent: Callable[[int], None] | None = None
    ) -> None:
        self.fd, self.offset, self.length, self.on_sent = fd, offset, length, on_sent

    def open(self) -> Reader:
        """See Body."""
        return _FileReader(self)


class _FileReader:
    def __init__(self, body: FileBody) -> None:
        self._body = body
        self._read = 0

    def read(self, length: int = -1, /) -> bytes:
        body = self._body
        left = body.length - self._read
        data = os.pread(body.fd, left if length < 0 else min(length, left), body.offset + self._read)
        self._read += len(data)
        if body.on_sent is not None:
            body.on_sent(self._read)
        return data
