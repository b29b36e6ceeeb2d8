"""What is attested of an image when it leaves: in-toto statements, and the manifest that names them.

Source: moby/buildkit, docs/attestations/attestation-storage.md; in-toto/attestation, spec/v1/statement.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from corten.digest import Digest, digest_of, hex_of
from corten.images.attestations import PREDICATE, STATEMENT, SUBJECT, TYPE
from corten.oci.image import (
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    DescriptorPlatform,
    ImageConfig,
    ImageDocument,
    Manifest,
    RootFS,
)

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement is about: a name, and digests by algorithm."""

    name: str
    digest: dict[str, str]


class _Statement(msgspec.Struct, kw_only=True):
    type: str = msgspec.field(name="_type", default=STATEMENT_TYPE)
    predicate_type: str = msgspec.field(name="predicateType")
    subject: Sequence[Subject]
    predicate: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is said of one image. `predicate`: JSON, of the image's layers as they leave (lowest first).

    `filename`: where it goes when files leave instead of an image; not at all if it is `inline_only`.
    """

    predicate_type: str
    predicate: Callable[[Sequence[Descriptor]], bytes]
    filename: str = ""
    inline_only: bool = False

    def statement(self, subjects: Sequence[Subject], layers: Sequence[Descriptor] = ()) -> bytes:
        """The claim about subjects."""
        raw = msgspec.Raw(self.predicate(layers))
        return msgspec.json.encode(
            _Statement(predicate_type=self.predicate_type, subject=subjects, predicate=raw)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """The manifest of an image's attestations, as an index lists it, and all that it names."""

    descriptor: Descriptor
    manifest: bytes
    blobs: Mapping[Digest, bytes]


def attested(
    image: Descriptor,
    claims: Sequence[Claim],
    names: Sequence[str],
    layers: Sequence[Descriptor],
    *,
    as_artifact: bool,
) -> Attested:
    """The claims about the image whose manifest is `image`, under these names."""
    subjects = [Subject(name=name, digest={"sha256": hex_of(image.digest)}) for name in names or ("_",)]
    blobs: dict[Digest, bytes] = {}
    statements = []
    for claim in claims:
        raw = claim.statement(subjects, layers)
        blobs[digest_of(raw)] = raw
        statements.append(
            Descriptor(
                media_type=STATEMENT,
                digest=digest_of(raw),
                size=len(raw),
                annotations={PREDICATE: claim.predicate_type},
            )
        )
    config, config_type = (_EMPTY, _EMPTY_TYPE) if as_artifact else (_config(statements), OCI_CONFIG)
    blobs[digest_of(config)] = config
    manifest = msgspec.json.encode(
        Manifest(
            schema_version=2,
            media_type=OCI_MANIFEST,
            artifact_type=_ARTIFACT if as_artifact else "",
            config=Descriptor(media_type=config_type, digest=digest_of(config), size=len(config)),
            layers=statements,
            subject=Descriptor(media_type=image.media_type, digest=image.digest, size=image.size)
            if as_artifact
            else None,
        )
    )
    descriptor = Descriptor(
        media_type=OCI_MANIFEST,
        digest=digest_of(manifest),
        size=len(manifest),
        annotations={TYPE: "attestation-manifest", SUBJECT: image.digest},
        platform=DescriptorPlatform(architecture="unknown", os="unknown"),
    )
    return Attested(descriptor=descriptor, manifest=manifest, blobs=blobs)


def _config(statements: Sequence[Descriptor]) -> bytes:
    """An image's configuration that says nothing: readers that know no artifacts want one."""
    diff_ids = [Digest(each.digest) for each in statements]
    return msgspec.json.encode(
        ImageDocument(
            architecture="unknown", os="unknown", config=ImageConfig(), rootfs=RootFS(diff_ids=diff_ids)
        )
    )
