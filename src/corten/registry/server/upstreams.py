"""Other registries behind this one: what is asked for is fetched once, kept, and served from then on.

A tag is asked for again when its answer is older than `FRESH_S`; while the other registry cannot be reached,
what is here is served. A blob is sent on while it arrives, and everybody who asks for it meanwhile reads
the same growing file.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

from corten.digest import Digest
from corten.errors import CortenError
from corten.reference import Reference
from corten.registry.client import Proxies, RegistryHosts, RegistryTrust, RemoteRegistry
from corten.registry.client.errors import AccessDenied, ManifestUnknown, RepositoryUnknown
from corten.registry.server.catalogue import StoredManifest
from corten.registry.server.documents import promised_size, read_manifest
from corten.registry.server.errors import Refused, WouldWait
from corten.registry.server.messages import FileBody, StreamBody
from corten.registry.server.store import Store
from corten.types.system import AuthConfig

log = logging.getLogger(__name__)

FRESH_S = 60.0
_READ = 256 << 10
_SECOND_NS = 1_000_000_000
_STALLED_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A registry at `host` whose repositories appear here below `prefix` ("": all names not taken)."""

    prefix: str
    host: str
    insecure: bool = False
    username: str = ""
    password: str = ""


class Upstreams:
    """All registries behind this one; the longest matching prefix wins."""

    def __init__(self, store: Store, upstreams: list[Upstream], *, fresh_s: float = FRESH_S) -> None:
        self._store = store
        self._upstreams = sorted(upstreams, key=lambda u: len(u.prefix), reverse=True)
        self._fresh_ns = int(fresh_s * _SECOND_NS)
        self._downloads: dict[Digest, _Download] = {}
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def serves(self, repository: str) -> bool:
        """Whether the repository is one of an upstream: then nobody pushes to it here."""
        return self._find(repository) is not None

    def _find(self, repository: str) -> tuple[Upstream, str] | None:
        for upstream in self._upstreams:
            if not upstream.prefix:
                return upstream, repository
            if repository.startswith(f"{upstream.prefix}/"):
                return upstream, repository[len(upstream.prefix) + 1 :]
        return None

    def _remote(self, repository: str) -> RemoteRegistry:
        found = self._find(repository)
        if found is None:
            raise Refused("NAME_UNKNOWN", f"repository name not known to registry: {repository}")
        upstream, path = found
        auth = AuthConfig(username=upstream.username, password=upstream.password)
        trust = RegistryTrust([upstream.host] if upstream.insecure else [])
        return RemoteRegistry(
            Reference(domain=upstream.host, path=path),
            auth,
            RegistryHosts(trust=trust, proxies=Proxies(environment=os.environ)),
        )

    def manifest(self, repository: str, reference: str) -> StoredManifest | None:
        """The manifest as the other registry has it, or as we remember it."""
        known = self._store.catalogue.manifest(repository, reference)
        if known is not None and (":" in reference or self._fresh(repository, reference)):
            self.hits += 1
            return known
        self.misses += 1
        try:
            with self._remote(repository) as upstream:
                remote = upstream.manifest(reference)
        except (ManifestUnknown, RepositoryUnknown):
            return None
        except AccessDenied as e:
            raise Refused("DENIED", f"upstream registry: {e}") from e
        except CortenError as e:
            log.warning("upstream", extra={"repository": repository, "reason": str(e)})
            if known is None:
                raise Refused("UNAVAILABLE", f"upstream registry: {e}") from e
            return known
        manifest = read_manifest(remote.raw, remote.digest, remote.media_type)
        self._store.catalogue.put_manifest(repository, manifest, reference if ":" not in reference else None)
        return manifest

    def _fresh(self, repository: str, tag: str) -> bool:
        age = self._store.catalogue.tag_age_ns(repository, tag)
        return age is not None and age < self._fresh_ns

    def blob(self, repository: str, digest: Digest, *, may_wait: bool = True) -> FileBody | StreamBody | None:
        """A blob, from here or on its way here; only what a manifest that we fetched names.

        Raises WouldWait for what is not here.
        """
        found = self._store.blob(repository, digest, may_wait=may_wait)
        if found is not None:
            self.hits += 1
            return found
        if not may_wait:
            raise WouldWait
        size = promised_size(self._store.catalogue.parents(repository, digest), digest)
        if size is None:
            return None
        self.misses += 1
        with self._lock:
            download = self._downloads.get(digest)
            if download is None:
                download = self._downloads[digest] = _Download(self._store, repository, digest, size)
                threading.Thread(target=self._fetch, args=(download,), daemon=True).start()
        return StreamBody(download.follow(), download.size)

    def _fetch(self, download: _Download) -> None:
        try:
            with self._remote(download.repository) as remote:
                download.run(remote)
        finally:
            with self._lock:
                del self._downloads[download.digest]

    def tags(self, repository: str) -> list[str] | None:
        """All tags of the other registry; without it those that we have."""
        try:
            with self._remote(repository) as remote:
                return sorted(remote.tags())
        except CortenError as e:
            log.warning("upstream", extra={"repository": repository, "reason": str(e)})
            return self._store.tags(repository)


class _Download:
    """One blob on its way into the store, with everybody who waits for it."""

    def __init__(self, store: Store, repository: str, digest: Digest, size: int) -> None:
        self.repository = repository
        self.digest = digest
        self.size = size
        self._store = store
        self._upload = store.storage.start_upload()
        self._fd = store.storage.open_upload(self._upload)
        self._readers = 1  # the download itself
        self._have = 0
        self._done = False
        self._error: CortenError | None = None
        self._changed = threading.Condition()

    def run(self, remote: RemoteRegistry) -> None:
        """Fetch it; errors are everybody's who follows."""
        storage = self._store.storage
        error: CortenError | None = None
        try:
            with closing(self._pieces(remote)) as pieces:
                storage.append(self._upload, pieces)
            self._store.finish_upload(self.repository, self._upload, self.digest)
        except Exception as e:  # whatever it is: those who follow must not wait for ever
            log.warning("upstream blob", extra={"digest": self.digest, "reason": str(e)})
            error = e if isinstance(e, CortenError) else Refused("UNAVAILABLE", str(e))
            with suppress(Refused):
                storage.cancel(self._upload)
        with self._changed:
            self._error, self._done = error, True
            self._changed.notify_all()
        self.leave()

    def _pieces(self, remote: RemoteRegistry) -> Generator[bytes, None, None]:
        stream = remote.blob(self.digest)
        try:
            while piece := stream.read():
                if self._have + len(piece) > self.size:
                    raise Refused("SIZE_INVALID", "upstream sends more than its manifest says")
                yield bytes(piece)
                with self._changed:
                    self._have += len(piece)
                    self._changed.notify_all()
        finally:
            stream.close()

    def follow(self) -> _Follower:
        """The blob's bytes as they arrive."""
        with self._changed:
            self._readers += 1
        return _Follower(self)

    def wait(self, at: int) -> tuple[int, bool]:
        """Wait for bytes after `at`: (how far one may read, whether that is all). Raises ConnectionError.

        The last bytes are given out only when the whole was found to be what it should be.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._done or self._have - _READ > at, _STALLED_S):
                raise ConnectionError("upstream has stalled")
            if self._error is not None:
                raise ConnectionError(str(self._error))
            return (self._have, True) if self._done else (self._have - _READ, False)

    def read(self, at: int, limit: int) -> bytes:
        """Bytes that are here."""
        return os.pread(self._fd, min(_READ, limit - at), at)

    def leave(self) -> None:
        """One reader less."""
        with self._changed:
            self._readers -= 1
            if not self._readers:
                os.close(self._fd)


class _Follower:
    """Iterates over a download; to be closed even if it was never begun."""

    def __init__(self, download: _Download) -> None:
        self._download: _Download | None = download

    def __iter__(self) -> Iterator[bytes]:
        at, all_here = 0, False
        while self._download is not None and not all_here:
            limit, all_here = self._download.wait(at)
            while at < limit:
                piece = self._download.read(at, limit)
                at += len(piece)
                yield piece

    def close(self) -> None:
        """Lose interest."""
        download, self._download = self._download, None
        if download is not None:
            download.leave()
