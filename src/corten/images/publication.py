"""Images that leave together, and the documents that name them: manifests, an index.

::

    index ─┬─► manifest of linux/amd64 ─► config, layers        ◄─┐ is about
           ├─► manifest of linux/arm64 ─► config, layers          │
           └─► manifest of unknown/unknown ─► statements ─────────┘

One image of which nothing is attested needs no index: its manifest is the top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from corten.digest import Digest, digest_of
from corten.images.claims import Claim, attested
from corten.images.image import Image
from corten.images.layer_blobs import DIFF_ID
from corten.oci.image import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_OF,
    OCI_MANIFEST,
    Descriptor,
    DescriptorPlatform,
    Index,
    Manifest,
)

_DOCKER_LAYER_OF = {ocis: dockers for dockers, ocis in OCI_LAYER_OF.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """Media types of one publication's documents; of layers, what takes the place of another kind's."""

    manifest: str = OCI_MANIFEST
    config: str = OCI_CONFIG
    index: str = OCI_INDEX
    layers: Mapping[str, str] = field(default_factory=lambda: OCI_LAYER_OF)


_OCI = _Kinds()
_DOCKER = _Kinds(manifest=DOCKER_MANIFEST, config=DOCKER_CONFIG, index=DOCKER_LIST, layers=_DOCKER_LAYER_OF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One image of a publication; annotations of its manifest, and of the descriptor of that in an index.

    claims: what is attested of it, under these `subjects`, its names as package URLs.
    """

    image: Image
    claims: Sequence[Claim] = ()
    subjects: Sequence[str] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    descriptor_annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What leaves. `top_annotations`: of the descriptor of the index, where there is one above it.

    as_artifacts: attestations are OCI artifacts, not images that nobody can run. as_dockers: with Docker's
    media types, if its layers have any.
    """

    members: Sequence[Member]
    as_index: bool = False
    as_artifacts: bool = False
    as_dockers: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    top_annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """One image of which nothing is said."""
        return not self.as_index and not self.members[0].annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """manifests: those of the members, in their order. blobs: configs and statements, by digest.

    below: all manifests that stand below an index, by digest; `top` describes what stands above all.
    rewritten: the images have become others than those that are here (eStargz).
    """

    top: Descriptor
    top_raw: bytes
    manifests: Sequence[bytes]
    below: Mapping[Digest, bytes]
    blobs: Mapping[Digest, bytes]
    rewritten: bool = False


def documents(publication: Publication, layers: Sequence[Sequence[Descriptor]]) -> Documents:
    """The documents over layers as they were written: for each member its own, lowest first."""
    kinds = _kinds(publication, layers)
    manifests: list[bytes] = []
    entries: list[Descriptor] = []
    below: dict[Digest, bytes] = {}
    blobs: dict[Digest, bytes] = {}
    for member, its_layers in zip(publication.members, layers, strict=True):
        config = _config(member.image, its_layers)
        raw = _manifest(member, config, its_layers, kinds)
        manifests.append(raw)
        entries.append(_entry(member, raw, kinds))
        below[digest_of(raw)] = raw
        blobs[digest_of(config)] = config
    rewritten = any(member.image.id not in blobs for member in publication.members)
    for member, entry, its_layers in zip(publication.members, [*entries], layers, strict=True):
        if member.claims:
            attestation = attested(
                entry, member.claims, member.subjects, its_layers, as_artifact=publication.as_artifacts
            )
            entries.append(attestation.descriptor)
            below[Digest(attestation.descriptor.digest)] = attestation.manifest
            blobs.update(attestation.blobs)
    if not publication.as_index:
        return Documents(
            top=entries[0],
            top_raw=manifests[0],
            manifests=manifests,
            below={},
            blobs=blobs,
            rewritten=rewritten,
        )
    index = Index(
        schema_version=2,
        media_type=kinds.index,
        manifests=entries,
        annotations=dict(publication.annotations) or None,
    )
    raw = msgspec.json.encode(index)
    top = Descriptor(
        media_type=kinds.index,
        digest=digest_of(raw),
        size=len(raw),
        annotations=dict(publication.top_annotations) or None,
    )
    return Documents(top=top, top_raw=raw, manifests=manifests, below=below, blobs=blobs, rewritten=rewritten)


def _kinds(publication: Publication, layers: Sequence[Sequence[Descriptor]]) -> _Kinds:
    names = {*OCI_LAYER_OF, *_DOCKER_LAYER_OF}
    named = all(each.media_type in names for its_layers in layers for each in its_layers)
    return _DOCKER if publication.as_dockers and named else _OCI


def _config(image: Image, layers: Sequence[Descriptor]) -> bytes:
    """The image's configuration, over layers that may have other diff ids than those that are here."""
    diff_ids = [
        (layer.annotations or {}).get(DIFF_ID, diff_id)
        for layer, diff_id in zip(layers, image.diff_ids, strict=True)
    ]
    if diff_ids == list(image.diff_ids):
        return image.raw_config
    document = msgspec.json.decode(image.raw_config, type=dict[str, object])
    return msgspec.json.encode({**document, "rootfs": {"type": "layers", "diff_ids": diff_ids}})


def _manifest(member: Member, config: bytes, layers: Sequence[Descriptor], kinds: _Kinds) -> bytes:
    manifest = Manifest(
        schema_version=2,
        media_type=kinds.manifest,
        config=Descriptor(media_type=kinds.config, digest=digest_of(config), size=len(config)),
        layers=[
            Descriptor(
                media_type=kinds.layers.get(each.media_type, each.media_type),
                digest=each.digest,
                size=each.size,
                annotations={k: v for k, v in (each.annotations or {}).items() if k != DIFF_ID} or None,
            )
            for each in layers
        ],
        annotations=dict(member.annotations) or None,
    )
    return msgspec.json.encode(manifest)


def _entry(member: Member, raw: bytes, kinds: _Kinds) -> Descriptor:
    document = member.image.document
    return Descriptor(
        media_type=kinds.manifest,
        digest=digest_of(raw),
        size=len(raw),
        annotations=dict(member.descriptor_annotations) or None,
        platform=DescriptorPlatform(
            architecture=document.architecture, os=document.os or "linux", variant=document.variant
        ),
    )
