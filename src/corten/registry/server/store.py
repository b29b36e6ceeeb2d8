"""The registry's content: its own, and where it serves an engine's root, that engine's images too."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from corten.digest import Digest, is_digest
from corten.errors import Conflict
from corten.registry.server.catalogue import Catalogue, StoredManifest
from corten.registry.server.engine_images import EngineImages
from corten.registry.server.errors import Refused
from corten.registry.server.messages import FileBody
from corten.registry.server.storage import Storage

log = logging.getLogger(__name__)

_SECOND_NS = 1_000_000_000
UPLOAD_AGE_S = 24 * 3600.0


class Store:
    """Everything below `root`. grace_s: how long a blob that nothing needs is kept."""

    def __init__(self, root: str, engine: EngineImages | None = None, *, grace_s: float = 3600) -> None:
        """Open or make it and put right what a crash left. Raises Conflict if another process has it."""
        self.storage = Storage(root)
        self._owned = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            os.close(self._owned)
            raise Conflict(f"another registry serves {root}") from e
        self.catalogue = Catalogue(os.path.join(root, "registry.db"))
        self.engine = engine
        self.grace_s = grace_s
        self._grace_ns = int(grace_s * _SECOND_NS)
        # Between a file's arrival and its row (and the reverse) collection must not look.
        self._names = threading.Lock()
        self._restore()

    def _restore(self) -> None:
        files, rows = set(self.storage.blobs()), set(self.catalogue.all_blobs())
        self.catalogue.forget_blobs(rows - files)
        for digest in files - rows:
            self.storage.delete(Digest(digest))

    def close(self) -> None:
        """Let go of it."""
        self.catalogue.close()
        os.close(self._owned)

    # -- blobs ----------------------------------------------------------------------------------

    def blob(self, repository: str, digest: Digest, *, may_wait: bool = True) -> FileBody | None:
        """A blob that may be read in this repository. Raises WouldWait."""
        size = self.catalogue.use_blob(repository, digest, self._grace_ns // 4, may_wait=may_wait)
        if size is not None:
            with suppress(FileNotFoundError):
                return FileBody(self.storage.open(digest), 0, size, ours=True)
        return self.engine.blob(repository, digest, may_wait=may_wait) if self.engine else None

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Whether a manifest in this repository may refer to the blob; an engine's is linked in for that."""
        if self.catalogue.use_blob(repository, digest, self._grace_ns // 4) is not None:
            return True
        found = self.engine.blob(repository, digest) if self.engine else None
        if found is None:
            return False
        self._take_file(repository, digest, found)
        return True

    def _take_file(self, repository: str, digest: Digest, found: FileBody) -> None:
        with self._names:
            linked = self.storage.link(f"/proc/self/fd/{found.file.fd}", digest)
            if linked:
                self.catalogue.add_blob(repository, digest, found.length)
        if not linked:
            upload = self.storage.start_upload()
            self.storage.append(upload, _pieces(found))
            self.finish_upload(repository, upload, digest)

    def finish_upload(self, repository: str, upload: str, digest: Digest) -> None:
        """Make an upload a blob of the repository. Raises Refused."""
        with self._names:
            size = self.storage.finish(upload, digest)
            self.catalogue.add_blob(repository, digest, size)
        if self.engine is not None:
            self.engine.share(digest, self.storage.path(digest))

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        """Make a blob of another repository one of this too; False if it is not there."""
        with self._names:
            size = self.catalogue.blob_size(source, digest)
            if size is not None:
                self.catalogue.add_blob(repository, digest, size)
                return True
        found = self.engine.blob(source, digest) if self.engine else None
        if found is None:
            return False
        self._take_file(repository, digest, found)
        return True

    # -- manifests ------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """The manifest under a tag or digest; what was pushed wins over what the engine has."""
        found = self.catalogue.manifest(repository, reference)
        if found is None and self.engine is not None:
            found = self.engine.manifest(repository, reference)
        return found

    def put_manifest(self, repository: str, manifest: StoredManifest, tag: str | None) -> None:
        """Store a manifest whose blobs and manifests are here. Raises Refused (MANIFEST_BLOB_UNKNOWN)."""
        with self._names:
            missing = [
                child
                for child in manifest.children
                if self.catalogue.blob_size(repository, child) is None
                and not self.catalogue.has_manifest(repository, child)
            ]
            if not missing:
                self.catalogue.put_manifest(repository, manifest, tag)
        if missing:
            for digest in missing:
                if not self.has_blob(repository, digest):
                    raise Refused("MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {digest}")
            self.put_manifest(repository, manifest, tag)

    def tags(self, repository: str) -> list[str] | None:
        """All tags in lexical order; None if there is no such repository."""
        own = self.catalogue.tags(repository)
        theirs = self.engine.tags(repository) if self.engine else []
        if own is None and not theirs:
            return None
        return sorted({*(own or ()), *theirs})

    def repositories(self) -> list[str]:
        """All names in lexical order."""
        theirs = self.engine.repositories() if self.engine else []
        return sorted({*self.catalogue.repositories(), *theirs})

    # -- collection -----------------------------------------------------------------------------

    def collect(self, *, untagged: bool = False) -> dict[str, int]:
        """Delete what nothing needs, while everything goes on; returns what went.

        untagged: manifests without a tag too (those of living indexes and subjects stay).
        """
        before = time.time_ns() - self._grace_ns
        manifests = self.catalogue.delete_untagged(before) if untagged else 0
        with self._names:
            garbage = self.catalogue.take_garbage(before)
            for digest in garbage:
                self.storage.delete(digest)
        stale = self.storage.stale_uploads(UPLOAD_AGE_S)
        for upload in stale:
            with suppress(Refused):
                self.storage.cancel(upload)
        return {"manifests": manifests, "blobs": len(garbage), "uploads": len(stale)}


def _pieces(body: FileBody) -> Iterable[bytes]:
    at, end = body.offset, body.offset + body.length
    while at < end and (data := os.pread(body.file.fd, min(1 << 20, end - at), at)):
        yield data
        at += len(data)


def digests(values: Iterable[str]) -> tuple[Digest, ...]:
    """Those of `values` that are digests, each once."""
    return tuple(dict.fromkeys(Digest(value) for value in values if is_digest(value)))
