"""Copying images between registries and archives, byte for byte: manifests, indexes and all they name.

Nothing of it stays in the store. A `Source` has manifests and blobs, a `Target` takes them, what is named
before what names it: `copyregistry` and `copyarchive` have both kinds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from corten.digest import Digest
from corten.errors import NotFound
from corten.oci.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    InvalidDocument,
    decode_index,
    decode_manifest,
)
from corten.platforms import Platform, best_match
from corten.registry.client import RemoteManifest
from corten.registry.client.errors import BadResponse

_MAX_DEPTH = 4
_MAX_MANIFESTS = 1000


class Content(Protocol):
    """A blob that is read once."""

    def read(self) -> bytes | memoryview:
        """The next bytes, valid until the next call; empty at the end."""

    def close(self) -> None:
        """Give up the rest."""


class Source(Protocol):
    """Where an image comes from. Blocking; for one thread."""

    def top(self) -> RemoteManifest:
        """The image or index that is to be copied."""

    def manifest(self, digest: str) -> RemoteManifest:
        """A member of an index."""

    def blob(self, digest: Digest) -> Content:
        """Open a configuration or layer; whoever reads it verifies it."""


class Target(Protocol):
    """Where it goes. Blocking; for one thread."""

    def blob(self, source: Source, descriptor: Descriptor) -> None:
        """Take in a blob, verified. Raises BadResponse if it is not what the descriptor says."""

    def manifest(self, found: RemoteManifest) -> None:
        """Take in a manifest, after all that it names."""

    def finish(self, found: RemoteManifest) -> None:
        """Take in the manifest that stands for all of them, under the target's own name."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: the manifest or index, and the digests of all manifests, its own among them."""

    top: RemoteManifest
    digests: list[Digest]


def copy(source: Source, target: Target, platform: Platform | None = None) -> Copied:
    """Copy an image, or an index with all its images, or of an index the image for a platform.

    Raises RegistryError, BadArchive, InvalidDocument, NotFound (no such platform).
    """
    top = source.top()
    if platform is not None and top.media_type in INDEX_TYPES:
        top = source.manifest(_member(top, platform).digest)
    contents = Contents(source, target)
    contents.bring(top)
    target.finish(top)
    return Copied(top, contents.manifests)


class Contents:
    """Brings what manifests name from a source to a target; bounded, whatever the source says.

    manifests: the digests of those that it has gone through.
    """

    def __init__(self, source: Source, target: Target) -> None:
        self._source = source
        self._target = target
        self.manifests: list[Digest] = []

    def bring(self, found: RemoteManifest, depth: int = 0) -> None:
        """Everything below a manifest, but not itself."""
        self.manifests.append(found.digest)
        if depth > _MAX_DEPTH or len(self.manifests) > _MAX_MANIFESTS:
            raise InvalidDocument("image index is too deep or too large")
        if found.media_type in INDEX_TYPES:
            for member in decode_index(found.raw).manifests:
                inner = self._source.manifest(member.digest)
                self.bring(inner, depth + 1)
                self._target.manifest(inner)
            return
        if found.media_type not in MANIFEST_TYPES:
            raise InvalidDocument(f"unsupported media type {found.media_type[:100]}")
        manifest = decode_manifest(found.raw)
        for descriptor in (manifest.config, *manifest.layers):
            if not descriptor.urls:  # what lies elsewhere on purpose stays there
                self._target.blob(self._source, descriptor)


def _member(index: RemoteManifest, platform: Platform) -> Descriptor:
    members = decode_index(index.raw).manifests
    chosen = best_match(platform, [(m.platform.normalized(), m) for m in members if m.platform is not None])
    if chosen is None:
        raise NotFound(f"no matching manifest for {platform} in the manifest list entries")
    return chosen


def verified(source: Source, descriptor: Descriptor) -> Iterator[memoryview]:
    """A blob in pieces, each valid until the next is asked for, never more than its size says.

    Raises BadResponse instead of ending if size or digest are wrong.
    """
    algorithm, _, expected = descriptor.digest.partition(":")
    content = hashlib.new(algorithm)
    stream = source.blob(Digest(descriptor.digest))
    count = 0
    try:
        while data := memoryview(stream.read()):
            count += len(data)
            if count > descriptor.size:
                break
            content.update(data)
            yield data
    finally:
        stream.close()
    if count != descriptor.size or content.hexdigest() != expected:
        raise BadResponse(f"verification failed for digest {descriptor.digest}")
