"""What the API says of an image's manifests: its descriptor, and the members of its index."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corten.images import attestations
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image
from corten.oci.image import OCI_MANIFEST, decode_manifest
from corten.oci.image import Descriptor as OciDescriptor
from corten.reference import Reference
from corten.types.image import (
    Descriptor,
    ManifestAttestation,
    ManifestImage,
    ManifestSize,
    ManifestSummary,
    OCIPlatform,
    UnpackedSize,
)


def descriptor_of(store: ImageCatalogue, image: Image, names: Sequence[Reference]) -> Descriptor | None:
    """What the image's name stands for: its index, or its manifest; None for an image without either."""
    for name in names:
        kept = store.indexes.of(name)
        if kept is not None:
            return Descriptor(media_type=kept.media_type, digest=kept.digest, size=len(kept.raw))
    return _own_descriptor(image)


def _own_descriptor(image: Image) -> Descriptor | None:
    if image.raw_manifest is None or image.manifest_digest is None:
        return None
    media_type = decode_manifest(image.raw_manifest).media_type or OCI_MANIFEST
    return Descriptor(
        media_type=media_type, digest=image.manifest_digest, size=len(image.raw_manifest), platform=None
    )


def manifest_summaries(
    store: ImageCatalogue, image: Image, names: Sequence[Reference]
) -> list[ManifestSummary]:
    """Every manifest of the index of the image's names; without one, the image's own."""
    for name in names:
        variants = store.indexes.variants(name)
        if variants:
            return [_summary(store, descriptor, image_id) for descriptor, image_id in variants]
    own = _own_descriptor(image)
    return [_image_summary(store, own, image)] if own is not None else []


def _summary(store: ImageCatalogue, descriptor: OciDescriptor, image_id: str | None) -> ManifestSummary:
    shown = msgspec.convert(msgspec.to_builtins(descriptor), Descriptor)
    if attestations.is_attestation(descriptor):
        here = attestations.find(store, descriptor.digest)
        size = sum(map(store.blobs.size, here.blobs)) if here is not None else 0
        return ManifestSummary(
            id=descriptor.digest,
            descriptor=shown,
            available=here is not None,
            size=ManifestSize(content=size, total=size),
            kind="attestation",
            attestation_data=ManifestAttestation(for_=attestations.subject_of(descriptor)),
        )
    image = store.find(image_id) if image_id is not None else None
    if image is not None:
        return _image_summary(store, shown, image)
    platform = shown.platform
    data = None
    if platform is not None:
        data = ManifestImage(platform=platform, containers=[], size=UnpackedSize(unpacked=0))
    return ManifestSummary(
        id=descriptor.digest,
        descriptor=shown,
        available=False,
        size=ManifestSize(content=0, total=0),
        kind="image" if data is not None else "unknown",
        image_data=data,
    )


def _image_summary(store: ImageCatalogue, descriptor: Descriptor, image: Image) -> ManifestSummary:
    blobs = {layer.blob for layer in image.layers if layer.blob is not None}
    content = len(image.raw_config) + descriptor.size + sum(map(store.blobs.size, blobs))
    users = store.ledger.query(
        "SELECT id FROM containers WHERE image_id = ? ORDER BY created_ns", (image.id,)
    )
    platform = descriptor.platform or OCIPlatform(
        architecture=image.document.architecture,
        os=image.document.os or "linux",
        variant=image.document.variant,
    )
    return ManifestSummary(
        id=descriptor.digest,
        descriptor=descriptor,
        available=True,
        size=ManifestSize(content=content, total=content + image.size),
        kind="image",
        image_data=ManifestImage(
            platform=platform,
            containers=[row["id"] for row in users],
            size=UnpackedSize(unpacked=image.size),
        ),
    )
