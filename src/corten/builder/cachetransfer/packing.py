"""A cache put together: which layers go along, and the documents that name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from corten.builder.cachetransfer.document import MEDIA_TYPE, Record, encode
from corten.builder.image import Layer
from corten.digest import Digest, digest_of
from corten.oci.image import (
    OCI_INDEX,
    OCI_LAYER_OF,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The cache's config, the manifest over it and the layers, and how the manifest is described."""

    config: bytes
    config_descriptor: Descriptor
    manifest: bytes
    descriptor: Descriptor

    @property
    def answer(self) -> dict[str, str]:
        """What a client is told, who then writes the manifest's digest into its index.json."""
        return {"cache.manifest": msgspec.json.encode(self.descriptor).decode()}


def wanted_layers(
    records: Iterable[Record], results: Iterable[Sequence[Layer]], *, all_steps: bool
) -> list[Digest]:
    """The diff ids that go along: those of the build's `results`, or of all its steps."""
    chains = [record.layers for record in records] if all_steps else [tuple(each) for each in results]
    return list(dict.fromkeys(Digest(layer.diff_id) for chain in chains for layer in chain))


def pack(records: Sequence[Record], blobs: Mapping[str, Descriptor], *, as_image: bool) -> Packed:
    """The documents of a cache. `blobs`: what goes along, by diff id."""
    named = {diff_id: _oci(descriptor) for diff_id, descriptor in blobs.items()}
    config = encode(records, named)
    about = Descriptor(media_type=MEDIA_TYPE, digest=digest_of(config), size=len(config))
    layers = list({each.digest: each for each in named.values()}.values())
    if as_image:
        raw = msgspec.json.encode(
            Manifest(schema_version=2, media_type=OCI_MANIFEST, config=about, layers=layers)
        )
    else:
        raw = msgspec.json.encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=[*layers, about]))
    kind = OCI_MANIFEST if as_image else OCI_INDEX
    return Packed(
        config=config,
        config_descriptor=about,
        manifest=raw,
        descriptor=Descriptor(media_type=kind, digest=digest_of(raw), size=len(raw)),
    )


def _oci(descriptor: Descriptor) -> Descriptor:
    kind = OCI_LAYER_OF.get(descriptor.media_type, descriptor.media_type)
    return Descriptor(media_type=kind, digest=descriptor.digest, size=descriptor.size)
