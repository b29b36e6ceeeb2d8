"""Attestations: what somebody says of an image (provenance, contents), beside it in its index.

BuildKit's layout: the index lists a manifest of the platform unknown/unknown whose annotations name the
manifest it is about; its layers are in-toto statements, JSON, each with its predicate type. They are kept as
they came, as blobs, as long as some name's index lists their manifest.

Source: moby/buildkit, docs/attestations/attestation-storage.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from corten.content import SizeMismatch
from corten.digest import Digest
from corten.errors import InternalError
from corten.images.blocking import run_blocking, run_to_end
from corten.images.catalogue import ImageCatalogue, Pins
from corten.images.image import Image
from corten.oci.image import (
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    InvalidDocument,
    Manifest,
    decode,
    decode_index,
    decode_manifest,
    kind_of,
)
from corten.reference import InvalidReference, parse_normalized
from corten.types.image import AttestationStatement
from corten.types.image import Descriptor as ShownDescriptor

TYPE = "vnd.docker.reference.type"
SUBJECT = "vnd.docker.reference.digest"
PREDICATE = "in-toto.io/predicate-type"
STATEMENT = "application/vnd.in-toto+json"

_MAX_OF_AN_IMAGE = 16
_MAX_BLOBS = 64
MAX_BLOB_BYTES = 16 << 20
_MAX_BYTES = 64 << 20


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether a member of an index is an attestation."""
    return (descriptor.annotations or {}).get(TYPE) == "attestation-manifest"


def subject_of(descriptor: Descriptor) -> str:
    """The digest of the manifest that an attestation is about; "" if it does not say."""
    return (descriptor.annotations or {}).get(SUBJECT, "")


@dataclass(frozen=True, slots=True)
class Attestation:
    """One that is here. blobs: its manifest first, then configuration and statements."""

    digest: Digest
    subject: str
    blobs: tuple[Digest, ...]


Read = Callable[[Descriptor], Awaitable[bytes]]
"""Reads content of the place an image comes from, at most as long as its descriptor says, verified."""


async def fetch(
    store: ImageCatalogue, raw_index: bytes, subject: str, read: Read, pins: Pins
) -> list[Attestation]:
    """The attestations of one member of an index, brought here; `Attestations.keep` has to follow.

    Raises InvalidDocument, SizeMismatch if one is not sound or too large, and what `read` raises.
    """
    listed = {m.digest: m for m in decode_index(raw_index).manifests if is_attestation(m)}
    about = [descriptor for descriptor in listed.values() if subject_of(descriptor) == subject]
    if len(about) > _MAX_OF_AN_IMAGE:
        raise InvalidDocument(f"an image has more than {_MAX_OF_AN_IMAGE} attestations")
    return [await _fetch(store, descriptor, read, pins) for descriptor in about]


async def _fetch(store: ImageCatalogue, descriptor: Descriptor, read: Read, pins: Pins) -> Attestation:
    if descriptor.size > MAX_MANIFEST_BYTES:
        raise SizeMismatch(MAX_MANIFEST_BYTES, descriptor.size)
    raw = await _bring(store, descriptor, read, pins)
    if kind_of(raw, descriptor.media_type) not in MANIFEST_TYPES:
        raise InvalidDocument(f"attestation {descriptor.digest} is not a manifest")
    contents = _contents(decode_manifest(raw))
    for each in contents:
        await _bring(store, each, read, pins)
    digests = (Digest(descriptor.digest), *(Digest(each.digest) for each in contents))
    return Attestation(digests[0], subject_of(descriptor), digests)


def _contents(manifest: Manifest) -> list[Descriptor]:
    """What a manifest names, each once. Raises InvalidDocument if it is too much."""
    contents = list({each.digest: each for each in (manifest.config, *manifest.layers)}.values())
    too_large = any(each.size > MAX_BLOB_BYTES for each in contents)
    if too_large or len(contents) > _MAX_BLOBS or sum(each.size for each in contents) > _MAX_BYTES:
        raise InvalidDocument("attestation is too large")
    return contents


async def _bring(store: ImageCatalogue, descriptor: Descriptor, read: Read, pins: Pins) -> bytes:
    digest = Digest(descriptor.digest)
    store.blobs.path(digest)  # checks the algorithm
    pins.blob(digest)
    if store.has_blob(digest):
        return await run_blocking(store.blobs.read, digest, MAX_BLOB_BYTES)
    raw = await read(descriptor)
    if len(raw) != descriptor.size:
        raise SizeMismatch(descriptor.size, len(raw))

    def write() -> None:
        with store.blobs.writer(digest, descriptor.size) as writer:
            writer.write(raw)
            writer.commit(durable=False)

    try:
        await run_to_end(lambda: None, write)
    finally:
        # Also when cancelled a moment too late: what is on disk has a row.
        if store.blobs.has(digest):
            store.record_blob(digest)
    return raw


def keep(store: ImageCatalogue, attestations: Sequence[Attestation]) -> None:
    """Note what belongs together; in the transaction that keeps the index."""
    store.ledger.executemany(
        "INSERT OR IGNORE INTO attestations (manifest, subject, blob) VALUES (?, ?, ?)",
        [(each.digest, each.subject, blob) for each in attestations for blob in each.blobs],
    )


def found_in(raw_index: bytes, manifests: Mapping[Digest, bytes]) -> list[Attestation]:
    """The attestations of an index of our own making, whose manifests are given by digest."""
    if not manifests:
        return []
    return [
        Attestation(
            Digest(each.digest),
            subject_of(each),
            (
                Digest(each.digest),
                *(Digest(c.digest) for c in _contents(decode_manifest(manifests[Digest(each.digest)]))),
            ),
        )
        for each in decode_index(raw_index).manifests
        if is_attestation(each)
    ]


def write(
    store: ImageCatalogue, manifests: Mapping[Digest, bytes], blobs: Mapping[Digest, bytes], pins: Pins
) -> None:
    """Put attestations of our own making into the store; `keep` has to follow.

    `manifests`, `blobs`: of a publication, by digest; those that belong to no attestation are left out.
    """
    for digest, raw in manifests.items():
        decoded = decode_manifest(raw)
        if not any(layer.media_type == STATEMENT for layer in decoded.layers):
            continue
        contents = _contents(decoded)
        for name, data in ((digest, raw), *((Digest(c.digest), blobs[Digest(c.digest)]) for c in contents)):
            pins.blob(name)
            if store.has_blob(name):
                continue
            with store.blobs.writer(name, len(data)) as writer:
                writer.write(data)
                writer.commit(durable=False)
            store.record_blob(name)


def find(store: ImageCatalogue, digest: str) -> Attestation | None:
    """The attestation with this manifest, if all of it is here."""
    rows = store.ledger.query("SELECT subject, blob FROM attestations WHERE manifest = ?", (digest,))
    here = {row["blob"] for row in rows}
    if digest not in here:
        return None
    raw = store.blobs.read(Digest(digest), MAX_MANIFEST_BYTES)
    contents = [Digest(each.digest) for each in _contents(decode_manifest(raw))]
    if not here.issuperset(contents):
        return None
    return Attestation(Digest(digest), rows[0]["subject"], (Digest(digest), *contents))


def of_image(store: ImageCatalogue, image: Image, listed: Container[str] | None = None) -> list[Attestation]:
    """The attestations of an image that are here. listed: only those whose manifest is one of these."""
    rows = store.ledger.query(
        "SELECT DISTINCT manifest FROM attestations WHERE subject = ? ORDER BY manifest",
        (image.manifest_digest or "",),
    )
    found = (find(store, row["manifest"]) for row in rows if listed is None or row["manifest"] in listed)
    return [each for each in found if each is not None]


async def statements(
    store: ImageCatalogue, text: str, image: Image, types: Sequence[str], *, contents: bool
) -> list[AttestationStatement]:
    """GET /images/{name}/attestations: the statements of an image, of these predicate types or (none) all.

    text: how the image was called; by a name, what the index of the name lists.
    """
    found = []
    for attestation in of_image(store, image, _listed(store, text, image)):
        manifest = decode_manifest(store.blobs.read(attestation.digest, MAX_MANIFEST_BYTES))
        for layer in manifest.layers:
            predicate = (layer.annotations or {}).get(PREDICATE, "")
            if layer.media_type != STATEMENT or (types and predicate not in types):
                continue
            found.append(
                AttestationStatement(
                    descriptor=msgspec.convert(msgspec.to_builtins(layer), ShownDescriptor),
                    predicate_type=predicate,
                    statement=await _statement(store, layer) if contents else msgspec.UNSET,
                )
            )
    return found


def _listed(store: ImageCatalogue, text: str, image: Image) -> frozenset[str] | None:
    """What the index of a name lists; None if `text` is no name, but an id."""
    try:
        name = parse_normalized(text).with_default_tag()
    except InvalidReference:
        return None
    kept = store.indexes.of(name)
    if kept is not None:
        return frozenset(each.digest for each in kept.manifests)
    return frozenset() if store.id_of_name(name) == image.id else None


async def _statement(store: ImageCatalogue, layer: Descriptor) -> msgspec.Raw:
    raw = await run_blocking(store.blobs.read, Digest(layer.digest), MAX_BLOB_BYTES)
    try:
        await asyncio.to_thread(decode, raw, dict[str, object], "statement")
    except InvalidDocument as e:
        raise InternalError(f"attestation {layer.digest} is not a statement: {e}") from e
    return msgspec.Raw(raw)
