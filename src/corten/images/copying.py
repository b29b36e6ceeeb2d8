"""Copying images from registry to registry, byte for byte: manifests, indexes and all they name.

Nothing of it stays in the store. Within one registry blobs are mounted; between two they pass through a
file in <root>/tmp, verified on their way.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from types import TracebackType

import msgspec

from corten.digest import Digest
from corten.errors import InvalidParameter
from corten.linux.files import write_all
from corten.oci.image import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Index,
    InvalidDocument,
    decode_index,
    decode_manifest,
)
from corten.reference import Reference
from corten.registry.client import FileBody, PushTarget, RegistryHosts, RemoteManifest, RemoteRegistry
from corten.registry.client.errors import BadResponse
from corten.types.system import AuthConfig

_MAX_DEPTH = 4
_MAX_MANIFESTS = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, and who we are there."""

    reference: Reference
    auth: AuthConfig | None = None


class Copier:
    """Copies into one repository. Blocking; for one thread. A context manager: it keeps connections."""

    def __init__(self, target: Place, hosts: RegistryHosts, tmp: str) -> None:
        self._reference = target.reference
        self._target = PushTarget(target.reference, target.auth, hosts)
        self._hosts = hosts
        self._tmp = tmp
        self._manifests = 0

    def __enter__(self) -> Copier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.close()

    def copy(self, source: Place) -> RemoteManifest:
        """Copy the image or index `source` under the target's tag (or its digest). Raises RegistryError."""
        wanted = source.reference.with_default_tag()
        with RemoteRegistry(source.reference, source.auth, self._hosts) as remote:
            top = remote.manifest(wanted.digest or wanted.tag or "")
            self._content(remote, source.reference, top, 0)
        which = self._reference.digest or self._reference.with_default_tag().tag or ""
        if self._reference.digest is not None and self._reference.digest != top.digest:
            raise InvalidParameter(f"the source is {top.digest}, which the target's digest is not")
        self._target.put_manifest(which, top.raw, top.media_type)
        return top

    def push_index(self, members: list[tuple[Place, Descriptor]]) -> tuple[Digest, int]:
        """Put a new index of images (by digest) under the target's tag; its digest and length."""
        for source, descriptor in members:
            with RemoteRegistry(source.reference, source.auth, self._hosts) as remote:
                found = remote.manifest(descriptor.digest)
                if found.media_type not in MANIFEST_TYPES:
                    raise InvalidParameter(f"{source.reference.familiar} is not an image's manifest")
                self._content(remote, source.reference, found, 0)
            self._target.put_manifest(found.digest, found.raw, found.media_type)
        oci = all(descriptor.media_type == OCI_MANIFEST for _, descriptor in members)
        media_type = OCI_INDEX if oci else DOCKER_LIST
        index = Index(schema_version=2, media_type=media_type, manifests=[each for _, each in members])
        raw = msgspec.json.encode(index)
        tag = self._reference.with_default_tag().tag or ""
        return self._target.put_manifest(tag, raw, media_type), len(raw)

    def _content(self, remote: RemoteRegistry, source: Reference, found: RemoteManifest, depth: int) -> None:
        """Everything below a manifest, but not itself."""
        self._manifests += 1
        if depth > _MAX_DEPTH or self._manifests > _MAX_MANIFESTS:
            raise InvalidDocument("image index is too deep or too large")
        if found.media_type in INDEX_TYPES:
            for member in decode_index(found.raw).manifests:
                inner = remote.manifest(member.digest)
                self._content(remote, source, inner, depth + 1)
                self._target.put_manifest(inner.digest, inner.raw, inner.media_type)
            return
        if found.media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
            raise InvalidDocument(f"unsupported media type {found.media_type[:100]}")
        manifest = decode_manifest(found.raw)
        for descriptor in (manifest.config, *manifest.layers):
            if not descriptor.urls:  # what lies elsewhere on purpose stays there
                self._blob(remote, source, descriptor)

    def _blob(self, remote: RemoteRegistry, source: Reference, descriptor: Descriptor) -> None:
        digest = Digest(descriptor.digest)
        if self._target.has_blob(digest):
            return
        neighbour = source.domain == self._reference.domain and source.path != self._reference.path
        if neighbour and self._target.mount(digest, source):
            return
        path = os.path.join(self._tmp, f"copy-{secrets.token_hex(8)}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
        try:
            size = _receive(remote, digest, descriptor.size, fd)
            self._target.upload(digest, FileBody(fd, 0, size))
        finally:
            os.close(fd)


def _receive(remote: RemoteRegistry, digest: Digest, size: int, fd: int) -> int:
    """Fetch a blob into a file, verified. Raises BadResponse."""
    content = hashlib.new(digest.partition(":")[0])
    stream = remote.blob(digest)
    written = 0
    try:
        while data := stream.read():
            written += len(data)
            if written > size:
                break
            content.update(data)
            write_all(fd, data)
    finally:
        stream.close()
    if written != size or content.hexdigest() != digest.partition(":")[2]:
        raise BadResponse(f"verification failed for digest {digest}")
    return size
