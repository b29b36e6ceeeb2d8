"""Reading pushed manifests: what they are, what they need, what they are about.

Source: image-spec manifest.md and image-index.md; distribution-spec "Pushing manifests with subject".
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from corten.digest import Digest
from corten.errors import InvalidParameter
from corten.oci.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    Descriptor,
    Index,
    decode,
    decode_index,
    decode_manifest,
    kind_of,
)
from corten.registry.server.catalogue import StoredManifest
from corten.registry.server.errors import Refused

# Layers that others keep; registries need not have them (image-spec, layer.md "Non-Distributable Layers").
_FOREIGN = ("application/vnd.docker.image.rootfs.foreign", "application/vnd.oci.image.layer.nondistributable")


class _Subject(msgspec.Struct, rename="camel"):
    """What manifests and indexes of referrers have in common."""

    subject: Descriptor | None = None


def read_manifest(raw: bytes, digest: Digest, content_type: str) -> StoredManifest:
    """The manifest or index in a request's body. Raises Refused (MANIFEST_INVALID)."""
    try:
        kind = kind_of(raw, content_type.partition(";")[0].strip())
        if kind in INDEX_TYPES:
            return _index(raw, digest, kind)
        if kind in MANIFEST_TYPES:
            return _image(raw, digest, kind)
    except InvalidParameter as e:
        raise Refused("MANIFEST_INVALID", str(e)) from e
    raise Refused("MANIFEST_INVALID", f"manifests of type {kind[:100]} are not supported")


def _index(raw: bytes, digest: Digest, kind: str) -> StoredManifest:
    index = decode_index(raw)
    subject = decode(raw, _Subject, "image index").subject
    return StoredManifest(
        digest=digest,
        media_type=kind,
        raw=raw,
        subject=subject.digest if subject else None,
        artifact_type=index.artifact_type,
        annotations=index.annotations or {},
        children=_digests(index.manifests),
    )


def _image(raw: bytes, digest: Digest, kind: str) -> StoredManifest:
    manifest = decode_manifest(raw)
    kept = [d for d in manifest.layers if not d.media_type.startswith(_FOREIGN)]
    return StoredManifest(
        digest=digest,
        media_type=kind,
        raw=raw,
        subject=manifest.subject.digest if manifest.subject else None,
        artifact_type=manifest.artifact_type or manifest.config.media_type,
        annotations=manifest.annotations or {},
        children=_digests([manifest.config, *kept]),
    )


def _digests(descriptors: Iterable[Descriptor]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(Digest(descriptor.digest) for descriptor in descriptors))


def promised_size(manifests: Iterable[bytes], digest: str) -> int | None:
    """How long a blob is by one of the manifests that name it."""
    for raw in manifests:
        with suppress(InvalidParameter):  # an index has no blobs
            manifest = decode_manifest(raw)
            for descriptor in (manifest.config, *manifest.layers):
                if descriptor.digest == digest:
                    return descriptor.size
    return None


def referrers_index(manifests: Iterable[StoredManifest], artifact_type: str) -> bytes:
    """The answer about a subject's referrers, those of one artifact type where it is given."""
    found = [
        Descriptor(
            media_type=m.media_type,
            digest=m.digest,
            size=len(m.raw),
            artifact_type=m.artifact_type,
            annotations=m.annotations or None,
        )
        for m in manifests
        if not artifact_type or m.artifact_type == artifact_type
    ]
    return msgspec.json.encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=found))
