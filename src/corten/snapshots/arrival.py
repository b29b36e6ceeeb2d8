"""A file that is still being written, read by another process as far as it has got."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

from corten.digest import Digest
from corten.snapshots.errors import BadArchive

_READ = 256 << 10
_TELL_EVERY = 1 << 20


class Arrival:
    """The writer's side: tells the reader, through an eventfd, how much is there.

    is_plain: the file is a tar as it is, and so its digest, which the writer gives before the end, a diff id.
    """

    def __init__(self, size: int, *, is_plain: bool = False) -> None:
        self.size = size
        self.is_plain = is_plain
        self.digest: Digest | None = None
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._told = 0
        self._lock = threading.Lock()

    def advance(self, there: int) -> None:
        """The first `there` bytes of the file are final."""
        with self._lock:
            news = there - self._told
            if self.fd >= 0 and news > 0 and (news >= _TELL_EVERY or there == self.size):
                os.eventfd_write(self.fd, news)
                self._told = there

    def close(self) -> None:
        """Nobody listens any more; further news are nobody's."""
        with self._lock:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1


def arriving(source: int, size: int, news: int) -> Iterator[bytes]:
    """The reader's side: the file's content, piece by piece as it comes. Raises BadArchive if it is short."""
    at = there = 0
    while at < size:
        while there <= at:
            there += os.eventfd_read(news)
        data = os.pread(source, min(_READ, there - at), at)
        if not data:
            raise BadArchive("unexpected EOF")
        at += len(data)
        yield data
