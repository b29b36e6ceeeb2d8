"""A directory of blobs by sha256. Plain blocking calls; any thread."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator

from corten.digest import Digest, DigestMismatch, algorithm_of, from_hex, hex_of, is_digest
from corten.errors import CortenError, NotFound, NotSupported
from corten.linux.files import write_all

CHUNK = 256 << 10


class SizeMismatch(CortenError):
    """Content is longer or shorter than was promised."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"unexpected size: expected {expected} bytes, got {actual}")
        self.expected = expected
        self.actual = actual


class BlobStore:
    """Blobs below `root` (`<root>/blobs`, temporary files in `<root>/tmp`)."""

    def __init__(self, root: str) -> None:
        self._blobs = os.path.join(root, "blobs", "sha256")
        self._tmp = os.path.join(root, "tmp")
        for directory in (os.path.dirname(self._blobs), self._blobs, self._tmp):
            os.makedirs(directory, mode=0o700, exist_ok=True)

    def path(self, digest: Digest) -> str:
        """Where the blob is or would be. Raises NotSupported for other algorithms than sha256."""
        if algorithm_of(digest) != "sha256":
            raise NotSupported(f"cannot store content named by {algorithm_of(digest)}")
        return os.path.join(self._blobs, hex_of(digest))

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here, complete."""
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Its length in bytes. Raises NotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError as e:
            raise NotFound(f"content digest {digest}: not found") from e

    def open(self, digest: Digest) -> int:
        """A read-only fd, the caller's to close. Raises NotFound."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as e:
            raise NotFound(f"content digest {digest}: not found") from e

    def read(self, digest: Digest, limit: int) -> bytes:
        """The whole content. Raises NotFound, and SizeMismatch if it is longer than `limit` bytes."""
        size = self.size(digest)
        if size > limit:
            raise SizeMismatch(limit, size)
        with open(self.path(digest), "rb") as f:
            return f.read()

    def delete(self, digest: Digest) -> bool:
        """Remove the blob; False if it was not here. Readers that have it open go on reading."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    def __iter__(self) -> Iterator[Digest]:
        for entry in os.scandir(self._blobs):
            if is_digest(f"sha256:{entry.name}"):
                yield from_hex(entry.name)

    def writer(self, expected_digest: Digest | None = None, expected_size: int | None = None) -> BlobWriter:
        """A writer of new content; nothing is visible before its `commit()`."""
        return BlobWriter(self, self._tmp, expected_digest, expected_size)

    def adopt(self, path: str, digest: Digest, *, durable: bool = True) -> None:
        """Take over a complete file of this file system whose digest the caller has verified.

        durable: see `BlobWriter.commit`.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(fd, 0o600)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(path, self.path(digest))
        if durable:
            self.sync_directory()

    def sync_directory(self) -> None:
        """Put the names of the blobs on the disk."""
        fd = os.open(self._blobs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class BlobWriter:
    """Hashes what is written; `commit()` verifies, syncs and names it. Without commit nothing stays.

    with store.writer(digest, size) as w:
        for chunk in chunks: w.write(chunk)
        w.commit()
    """

    def __init__(
        self, store: BlobStore, tmp: str, expected_digest: Digest | None, expected_size: int | None
    ) -> None:
        self._store = store
        self._expected_digest = expected_digest
        self._expected_size = expected_size
        self._hash = hashlib.sha256()
        self._path = os.path.join(tmp, f"blob-{secrets.token_hex(8)}")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Raises SizeMismatch as soon as it is longer than was promised."""
        self.written += len(data)
        if self._expected_size is not None and self.written > self._expected_size:
            raise SizeMismatch(self._expected_size, self.written)
        self._hash.update(data)
        write_all(self._fd, data)

    def commit(self, *, durable: bool = True) -> Digest:
        """Make the content visible under its digest. Raises SizeMismatch, DigestMismatch.

        durable: it survives a power cut from now on. Otherwise the caller keeps a note that it may be
        torn until the file system has been synced.
        """
        if self._expected_size is not None and self.written != self._expected_size:
            raise SizeMismatch(self._expected_size, self.written)
        digest = from_hex(self._hash.hexdigest())
        if self._expected_digest is not None and digest != self._expected_digest:
            raise DigestMismatch(self._expected_digest, digest)
        if self._store.has(digest):
            self.close()
            return digest
        if durable:
            os.fsync(self._fd)
        os.rename(self._path, self._store.path(digest))
        self._path = ""
        if durable:
            self._store.sync_directory()
        self.close()
        return digest

    def close(self) -> None:
        """Give up what was not committed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path:
            os.unlink(self._path)
            self._path = ""

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
