"""Blobs that have arrived in part: what a broken transfer or a killed engine leaves to go on from.

::

    <root>/blobs/partial/<hex>    sparse; in each segment a prefix is there, the rest is a hole

No record says how much is there: the file's holes do (SEEK_HOLE). The last block of a prefix may be
half-written and is fetched again. Whatever else happened to the file, the digest is verified in the end.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from corten.content.store import BlobStore, SizeMismatch
from corten.digest import Digest, DigestMismatch, from_hex, hex_of, is_digest
from corten.linux.files import pwrite_all

SEGMENT = 64 << 20
_BLOCK = 4096
_READ = 1 << 20
_KEPT_S = 7 * 86400


class PartialBlob:
    """A blob of known digest and size that is on its way; written by several threads.

    `segments` tells what is missing; `write` and `finish` bring it; `commit` makes it a blob.
    """

    def __init__(self, store: BlobStore, directory: str, digest: Digest, size: int) -> None:
        self._store = store
        self._digest = digest
        self.size = size
        self._path = os.path.join(directory, hex_of(digest))
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size > size:
            os.ftruncate(self._fd, 0)
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._have = [self._prefix(start, end) for start, end in segment_bounds(size)]

    @property
    def present(self) -> int:
        """Bytes that are here."""
        with self._lock:
            return sum(self._have)

    @property
    def contiguous(self) -> int:
        """Bytes from the beginning that are here, and hashed."""
        return self._hashed

    def missing(self) -> list[tuple[int, int]]:
        """(start, end) of what each segment lacks."""
        with self._lock:
            return [
                (start + have, end)
                for have, (start, end) in zip(self._have, segment_bounds(self.size), strict=True)
                if start + have < end
            ]

    def _prefix(self, start: int, end: int) -> int:
        """Bytes of a segment that can be relied on."""
        length = os.fstat(self._fd).st_size
        try:
            hole = os.lseek(self._fd, start, os.SEEK_HOLE) if start < length else start
        except OSError as e:
            if e.errno != errno.ENXIO:
                raise
            hole = start
        there = max(0, min(hole, end, length) - start)
        if there == end - start and length > end:
            return there
        return there // _BLOCK * _BLOCK if there < end - start else max(0, there - _BLOCK) // _BLOCK * _BLOCK

    def write(self, offset: int, data: memoryview) -> None:
        """Put what has arrived at its place; it continues the prefix of its segment.

        Raises SizeMismatch beyond the blob's end.
        """
        if offset + len(data) > self.size:
            raise SizeMismatch(self.size, offset + len(data))
        pwrite_all(self._fd, data, offset)
        at = offset + len(data)
        with self._lock:
            segment = offset
            while segment < at:
                index = segment // SEGMENT
                start = index * SEGMENT
                end = min(at, start + SEGMENT)
                self._have[index] = end - start
                segment = end
        if self._hashed == offset:
            with self._lock:
                self._hash.update(data)
                self._hashed = at
        elif at % SEGMENT == 0 or at == self.size:
            self._hash_prefix()

    def _hash_prefix(self) -> None:
        """Hash what has become contiguous, while it is still in the page cache."""
        with self._lock:
            for have, (start, end) in zip(self._have, segment_bounds(self.size), strict=True):
                if end <= self._hashed:
                    continue
                if start + have < end:
                    return
                self._hash_until(end)

    def _hash_until(self, end: int) -> None:
        while self._hashed < end:
            data = os.pread(self._fd, min(_READ, end - self._hashed), self._hashed)
            if not data:
                raise SizeMismatch(self.size, self._hashed)
            self._hash.update(data)
            self._hashed += len(data)

    def reader(self) -> int:
        """A read-only fd, the caller's to close; it stays good when the blob is committed."""
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def commit(self) -> None:
        """Make it a blob, not yet synced. Raises SizeMismatch; DigestMismatch, and then nothing is kept."""
        with self._lock:
            self._hash_until(self.size)
            actual = from_hex(self._hash.hexdigest())
        if actual != self._digest:
            self.discard()
            raise DigestMismatch(self._digest, actual)
        os.ftruncate(self._fd, self.size)
        self._store.adopt(self._path, self._digest, durable=False)
        self.close()

    def close(self) -> None:
        """Leave what is here for another time."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Give up what is here."""
        self.close()
        if os.path.exists(self._path):
            os.unlink(self._path)


def segment_bounds(size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of every segment of a blob."""
    for start in range(0, size, SEGMENT):
        yield start, min(start + SEGMENT, size)


class PartialBlobs:
    """The directory of partial blobs. Whoever opens one is alone with it."""

    def __init__(self, root: str, store: BlobStore) -> None:
        self._store = store
        self._directory = os.path.join(root, "blobs", "partial")
        os.makedirs(self._directory, mode=0o700, exist_ok=True)

    def open(self, digest: Digest, size: int) -> PartialBlob:
        """What is here of a blob, perhaps nothing. Raises NotSupported, OSError."""
        self._store.path(digest)  # checks the algorithm
        return PartialBlob(self._store, self._directory, digest, size)

    def bytes_on_disk(self) -> int:
        """Disk space that partial blobs take."""
        total = 0
        for entry in os.scandir(self._directory):
            with suppress(FileNotFoundError):  # complete by now
                total += entry.stat(follow_symlinks=False).st_blocks * 512
        return total

    def strays(self) -> list[str]:
        """Paths of what no transfer can go on with: no such file, or a blob that is here completely."""
        return [
            entry.path
            for entry in os.scandir(self._directory)
            if not is_digest(f"sha256:{entry.name}")
            or not entry.is_file(follow_symlinks=False)
            or self._store.has(Digest(f"sha256:{entry.name}"))
        ]

    def sweep(self, dispose: Callable[[str], None] = os.unlink, *, older_than_s: float = _KEPT_S) -> None:
        """Delete those that nobody has gone on with for long."""
        limit = time.time() - older_than_s
        for entry in list(os.scandir(self._directory)):
            if entry.stat(follow_symlinks=False).st_mtime < limit:
                dispose(entry.path)
