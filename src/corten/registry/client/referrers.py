"""What refers to a manifest (signatures, contents, provenance): lists of descriptors, an index each.

Registries of distribution-spec 1.1 keep them ("Listing Referrers"). For others clients do, under a tag made
of the subject's digest ("Referrers Tag Schema"); two that write at once may lose an entry there.
"""

from __future__ import annotations

import msgspec

from corten.digest import Digest, digest_of
from corten.oci.image import (
    MANIFEST_TYPES,
    OCI_INDEX,
    Descriptor,
    Index,
    InvalidDocument,
    decode_index,
    decode_manifest,
)


def tag_of(subject: str) -> str:
    """The tag under which clients keep the list."""
    algorithm, _, encoded = subject.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def subject_of(raw: bytes, media_type: str) -> str:
    """The digest of what a manifest refers to; "" if to nothing."""
    if media_type not in MANIFEST_TYPES:
        return ""
    subject = decode_manifest(raw).subject
    return subject.digest if subject is not None else ""


def with_entry(listed: bytes | None, raw: bytes, media_type: str) -> bytes | None:
    """The list (None: there is none yet) with a further manifest; None if that is in it already."""
    manifests = _manifests(listed)
    digest = digest_of(raw)
    if digest in {each.digest for each in manifests}:
        return None
    manifest = decode_manifest(raw)
    entry = Descriptor(
        media_type=media_type,
        digest=digest,
        size=len(raw),
        artifact_type=manifest.artifact_type or manifest.config.media_type,
        annotations=manifest.annotations,
    )
    return msgspec.json.encode(Index(schema_version=2, media_type=OCI_INDEX, manifests=[*manifests, entry]))


def digests_in(listed: bytes) -> list[Digest]:
    """What a list names. Raises InvalidDocument."""
    return [Digest(each.digest) for each in decode_index(listed).manifests]


def _manifests(listed: bytes | None) -> list[Descriptor]:
    if listed is None:
        return []
    try:
        return decode_index(listed).manifests
    except InvalidDocument:
        return []  # somebody's image has the tag's name: the list takes its place, as in other clients
