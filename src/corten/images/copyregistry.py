"""Registries as sources and targets of copies.

Within one registry blobs are mounted; those from elsewhere pass through a file in <root>/tmp, verified on
their way.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType

import msgspec

from corten.digest import Digest, hex_of
from corten.errors import InvalidParameter
from corten.images.copying import Contents, Source, verified
from corten.linux.files import write_all
from corten.oci.image import DOCKER_LIST, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, Descriptor, Index
from corten.reference import Reference
from corten.registry.client import (
    BlobStream,
    FileBody,
    PushTarget,
    RegistryHosts,
    RemoteManifest,
    RemoteRegistry,
)
from corten.registry.client.errors import ManifestUnknown, RepositoryUnknown
from corten.types.system import AuthConfig

# What cosign says of an image it finds by these names of tags, in registries of every age.
_COSIGN_TAGS = ("sha256-{}.sig", "sha256-{}.att", "sha256-{}.sbom")


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, and who we are there."""

    reference: Reference
    auth: AuthConfig | None = None


class RegistrySource:
    """An image in a registry: see `copying.Source`. A context manager: it keeps connections."""

    def __init__(self, place: Place, hosts: RegistryHosts) -> None:
        self.reference = place.reference
        self._remote = RemoteRegistry(place.reference, place.auth, hosts)

    def __enter__(self) -> RegistrySource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remote.close()

    def top(self) -> RemoteManifest:
        """See Source."""
        wanted = self.reference.with_default_tag()
        return self._remote.manifest(wanted.digest or wanted.tag or "")

    def manifest(self, digest: str) -> RemoteManifest:
        """See Source."""
        return self._remote.manifest(digest)

    def blob(self, digest: Digest) -> BlobStream:
        """See Source."""
        return self._remote.blob(digest)

    def referrers(self, digest: Digest) -> Iterator[tuple[str, RemoteManifest]]:
        """What refers to a manifest, each with its name here: its digest, or a tag of cosign's."""
        for found in self._remote.referrers(digest):
            yield found, self._remote.manifest(found)
        for tag in (form.format(hex_of(digest)) for form in _COSIGN_TAGS):
            try:
                yield tag, self._remote.manifest(tag)
            except (ManifestUnknown, RepositoryUnknown):
                continue


class RegistryTarget:
    """A name in a registry: see `copying.Target`. A context manager: it keeps connections."""

    def __init__(self, place: Place, hosts: RegistryHosts, tmp: str) -> None:
        self._reference = place.reference
        self._target = PushTarget(place.reference, place.auth, hosts)
        self._hosts = hosts
        self._tmp = tmp

    def __enter__(self) -> RegistryTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.close()

    def blob(self, source: Source, descriptor: Descriptor) -> None:
        """See Target."""
        digest = Digest(descriptor.digest)
        if self._target.has_blob(digest) or self._mounted(source, digest):
            return
        path = os.path.join(self._tmp, f"copy-{secrets.token_hex(8)}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
        try:
            for piece in verified(source, descriptor):
                write_all(fd, piece)
            self._target.upload(digest, FileBody(fd, 0, descriptor.size))
        finally:
            os.close(fd)

    def _mounted(self, source: Source, digest: Digest) -> bool:
        """Whether the registry has taken the blob from another of its repositories."""
        if not isinstance(source, RegistrySource):
            return False
        theirs, ours = source.reference, self._reference
        neighbour = theirs.domain == ours.domain and theirs.path != ours.path
        return neighbour and self._target.mount(digest, theirs)

    def manifest(self, found: RemoteManifest) -> None:
        """See Target."""
        self._target.put_manifest(found.digest, found.raw, found.media_type)

    def finish(self, found: RemoteManifest) -> None:
        """See Target. Raises InvalidParameter if the target is a digest, and another one."""
        which = self._reference.digest or self._reference.with_default_tag().tag or ""
        if self._reference.digest is not None and self._reference.digest != found.digest:
            raise InvalidParameter(f"the source is {found.digest}, which the target's digest is not")
        self._target.put_manifest(which, found.raw, found.media_type)

    def refer(self, name: str, found: RemoteManifest) -> None:
        """Take in a manifest that refers to another, after all that it names, under a digest or tag."""
        self._target.put_manifest(name, found.raw, found.media_type)

    def put_index(self, members: list[tuple[Place, Descriptor]]) -> tuple[Digest, int]:
        """Put a new index of images (by digest) under the target's tag; its digest and length."""
        for place, descriptor in members:
            with RegistrySource(place, self._hosts) as source:
                found = source.manifest(descriptor.digest)
                if found.media_type not in MANIFEST_TYPES:
                    raise InvalidParameter(f"{place.reference.familiar} is not an image's manifest")
                Contents(source, self).bring(found)
            self.manifest(found)
        oci = all(descriptor.media_type == OCI_MANIFEST for _, descriptor in members)
        media_type = OCI_INDEX if oci else DOCKER_LIST
        index = Index(schema_version=2, media_type=media_type, manifests=[each for _, each in members])
        raw = msgspec.json.encode(index)
        tag = self._reference.with_default_tag().tag or ""
        return self._target.put_manifest(tag, raw, media_type), len(raw)


def copy_referrers(source: RegistrySource, target: RegistryTarget, digests: Iterable[Digest]) -> None:
    """Copy what refers to manifests that have been copied, and what refers to that; as bounded as a copy."""
    contents = Contents(source, target)
    waiting = list(digests)
    known = set(waiting)
    while waiting:
        for name, found in source.referrers(waiting.pop()):
            contents.bring(found)
            target.refer(name, found)
            if found.digest not in known:
                known.add(found.digest)
                waiting.append(found.digest)
