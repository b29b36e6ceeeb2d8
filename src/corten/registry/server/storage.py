"""Blobs as files named by their digest, and uploads that become blobs. Any thread.

An upload is a file that grows; how long it is, is where it stands. Its hash is kept beside it in memory
and made again from the file after a restart, or when the digest turns out to be sha512.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from corten.digest import Digest, algorithm_of, hex_of, is_digest
from corten.linux.files import write_all
from corten.registry.server.errors import Refused
from corten.registry.server.messages import OpenFile

ALGORITHMS = ("sha256", "sha512")
_READ = 1 << 20
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class _Progress:
    """What this process knows of an upload: the sha256 of its first `size` bytes. One writer at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    size: int = 0


class Storage:
    """The files below `root`."""

    def __init__(self, root: str) -> None:
        self._blobs = os.path.join(root, "blobs")
        self._uploads = os.path.join(root, "uploads")
        self._progress: dict[str, _Progress] = {}
        self._lock = threading.Lock()
        directories = [os.path.join(self._blobs, algorithm) for algorithm in ALGORITHMS]
        for directory in (root, self._blobs, self._uploads, *directories):
            os.makedirs(directory, mode=0o700, exist_ok=True)

    # -- blobs ----------------------------------------------------------------------------------

    def path(self, digest: Digest) -> str:
        """Where the blob is or would be."""
        return os.path.join(self._blobs, algorithm_of(digest), hex_of(digest))

    def open(self, digest: Digest) -> OpenFile:
        """The blob, to be read. Raises FileNotFoundError."""
        return OpenFile(os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC))

    def blobs(self) -> Iterator[Digest]:
        """All blobs that have a file."""
        for algorithm in ALGORITHMS:
            with os.scandir(os.path.join(self._blobs, algorithm)) as entries:
                for entry in entries:
                    if is_digest(name := f"{algorithm}:{entry.name}"):
                        yield Digest(name)

    def delete(self, digest: Digest) -> None:
        """Remove the file; whoever has it open goes on reading."""
        with suppress(FileNotFoundError):
            os.unlink(self.path(digest))

    def link(self, source: str, digest: Digest) -> bool:
        """Take in a file whose digest is known, without copying it; False if the file systems differ."""
        try:
            os.link(source, self.path(digest))
        except FileExistsError:
            return True
        except OSError as e:
            if e.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOENT):
                return False
            raise
        _sync(os.path.dirname(self.path(digest)), os.O_DIRECTORY)
        return True

    # -- uploads --------------------------------------------------------------------------------

    def start_upload(self) -> str:
        """Begin a blob; returns the id by which it goes on."""
        upload = uuid.uuid4().hex
        os.close(
            os.open(self._upload_path(upload), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        )
        return upload

    def upload_size(self, upload: str) -> int:
        """How many bytes of it are here. Raises Refused."""
        try:
            return os.stat(self._upload_path(upload)).st_size
        except FileNotFoundError as e:
            raise _unknown_upload() from e

    def append(self, upload: str, pieces: Iterable[bytes], offset: int | None = None) -> int:
        """Write more of it; returns its new length. offset: where the client thinks that it stands.

        Raises Refused (RANGE_INVALID) if it stands elsewhere or somebody else is writing. What was written
        before `pieces` failed stays.
        """
        progress = self._progress_of(upload)
        if not progress.lock.acquire(blocking=False):
            raise Refused("RANGE_INVALID", "another request is writing to this upload")
        try:
            size = self.upload_size(upload)
            if offset is not None and offset != size:
                raise Refused("RANGE_INVALID", f"upload stands at {size}, not at {offset}")
            if progress.size != size:
                self._hash_again(upload, progress)
            fd = os.open(self._upload_path(upload), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                for piece in pieces:
                    write_all(fd, piece)
                    progress.sha256.update(piece)
                    progress.size += len(piece)
            finally:
                os.close(fd)
            return progress.size
        finally:
            progress.lock.release()

    def open_upload(self, upload: str) -> int:
        """A read-only fd of an upload, which stays good when it has become a blob. Raises OSError."""
        return os.open(self._upload_path(upload), os.O_RDONLY | os.O_CLOEXEC)

    @contextmanager
    def appending(self, upload: str) -> Iterator[int]:
        """A descriptor for a writer that has its own hash, e.g. a tar being made."""
        fd = os.open(self._upload_path(upload), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def finish(self, upload: str, digest: Digest) -> int:
        """Make the upload a blob; returns its size. Raises Refused (DIGEST_INVALID), and drops it then."""
        progress = self._progress_of(upload)
        with progress.lock:
            path = self._upload_path(upload)
            size = self.upload_size(upload)
            if algorithm_of(digest) == "sha256":
                if progress.size != size:
                    self._hash_again(upload, progress)
                actual = f"sha256:{progress.sha256.hexdigest()}"
            else:
                actual = _hash_file(path, algorithm_of(digest))
            if actual != digest:
                self.cancel(upload)
                raise Refused("DIGEST_INVALID", f"content has digest {actual}, not {digest}")
            _sync(path)
            os.rename(path, self.path(digest))
            _sync(os.path.dirname(self.path(digest)), os.O_DIRECTORY)
            self._progress.pop(upload, None)
        return size

    def cancel(self, upload: str) -> None:
        """Give an upload up. Raises Refused if there is none."""
        self._progress.pop(upload, None)
        try:
            os.unlink(self._upload_path(upload))
        except FileNotFoundError as e:
            raise _unknown_upload() from e

    def stale_uploads(self, age_s: float) -> list[str]:
        """Uploads that nothing was written to for that long."""
        limit = time.time() - age_s
        found = []
        with os.scandir(self._uploads) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if _UPLOAD_ID.fullmatch(entry.name) and entry.stat().st_mtime < limit:
                        found.append(entry.name)
        return found

    def _upload_path(self, upload: str) -> str:
        if _UPLOAD_ID.fullmatch(upload) is None:
            raise _unknown_upload()
        return os.path.join(self._uploads, upload)

    def _progress_of(self, upload: str) -> _Progress:
        self._upload_path(upload)
        with self._lock:
            return self._progress.setdefault(upload, _Progress())

    def _hash_again(self, upload: str, progress: _Progress) -> None:
        progress.sha256 = hashlib.sha256()
        progress.size = 0
        for piece in _pieces(self._upload_path(upload)):
            progress.sha256.update(piece)
            progress.size += len(piece)


def _unknown_upload() -> Refused:
    return Refused("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")


def _pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_READ):
            yield piece


def _hash_file(path: str, algorithm: str) -> str:
    value = hashlib.new(algorithm)
    for piece in _pieces(path):
        value.update(piece)
    return f"{algorithm}:{value.hexdigest()}"


def _sync(path: str, flags: int = 0) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
