"""`docker save`: images as one tar that is an OCI layout and a docker-archive at once (as since Docker 25).

::

    blobs/sha256/<hex>    configs, manifests, layers
    index.json  oci-layout
    manifest.json  repositories      for older readers

The same images give the same bytes: entries are sorted, times are those of the images. Layers that were
kept as they came are files that the kernel may copy; others are written anew and verified while they go.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from corten.digest import Digest, DigestMismatch, digest_of, from_hex, hex_of
from corten.errors import NoSuchImage
from corten.images.attestations import of_image
from corten.images.blocking import run_blocking
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image
from corten.images.indexes import KeptIndex
from corten.images.times import created_ns
from corten.oci.image import (
    CONTAINERD_NAME,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    REF_NAME,
    ArchiveItem,
    Descriptor,
    DescriptorPlatform,
    Index,
    Manifest,
    decode_manifest,
)
from corten.platforms import Platform
from corten.reference import InvalidReference, Reference, parse_normalized
from corten.snapshots.tar_reader import DIRECTORY, TarEntry
from corten.snapshots.tar_writer import TarWriter
from corten.types.pieces import FilePiece, Piece

_HELD_BACK = 64 << 10


@dataclass(slots=True, kw_only=True)
class Plan:
    """What goes into the archive.

    layers: path of the content by the digest under which it is written. tars: those of them that are layers
    in use, verified while they go.
    """

    documents: dict[Digest, bytes] = field(default_factory=dict)
    layers: dict[Digest, str] = field(default_factory=dict)
    tars: set[Digest] = field(default_factory=set)
    index: list[Descriptor] = field(default_factory=list)
    items: list[ArchiveItem] = field(default_factory=list)
    repositories: dict[str, dict[str, str]] = field(default_factory=dict)
    mtimes: dict[Digest, int] = field(default_factory=dict)


async def save(
    store: ImageCatalogue, texts: Sequence[str], platforms: Sequence[Platform] = ()
) -> AsyncGenerator[Piece, None]:
    """The archive of the images `texts` names. A bare repository means all its tags.

    platforms: of each image, those for them; of several the index goes along, and without any if there are
    attestations of the image. Raises NoSuchImage, NotFound (none for this platform) before
    the first byte; an error later breaks the stream off.
    """
    chosen, lists = _choose(store, texts, platforms)
    with store.pins() as pins:
        for blob in (blob for each in lists for blob in each.attestation_blobs):
            pins.blob(blob)
        async with open_archive(store, chosen) as archive:
            for each in lists:
                archive.add_index(store, each)
            async with aclosing(archive.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
    for image, _ in chosen:
        store.event("save", image.id, image.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedIndex:
    """A name whose index goes into the archive. manifests: of the images that go with it."""

    name: Reference
    index: KeptIndex
    manifests: frozenset[Digest]
    attestation_blobs: frozenset[Digest]


class Archive:
    """Images on their way out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def add_index(self, store: ImageCatalogue, kept: SavedIndex) -> None:
        """Let a name stand for its index again, whose other members readers have to do without.

        Not if its images are written with other manifests than they came with.
        """
        plan, raw = self._plan, kept.index.raw
        if not kept.manifests <= plan.documents.keys():
            return
        (said,) = annotations_of_names([kept.name])
        plan.index = [
            e for e in plan.index if e.digest not in kept.manifests or e.annotations not in (None, said)
        ]
        plan.documents[kept.index.digest] = raw
        plan.layers.update({blob: store.blobs.path(blob) for blob in kept.attestation_blobs})
        plan.index.append(
            Descriptor(
                media_type=kept.index.media_type, digest=kept.index.digest, size=len(raw), annotations=said
            )
        )

    def pieces(self) -> AsyncGenerator[Piece, None]:
        """The archive, its layers as files; to be closed. Raises DigestMismatch."""
        return _pieces(self._plan)

    def contents(self) -> list[tuple[Digest, bytes | str]]:
        """Everything by its digest: documents, and the paths of layers."""
        return [*self._plan.documents.items(), *self._plan.layers.items()]

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """As `pieces`, read from the files."""
        return read_pieces(self.pieces())


@asynccontextmanager
async def open_archive(
    store: ImageCatalogue, chosen: Sequence[tuple[Image, Sequence[Reference]]]
) -> AsyncIterator[Archive]:
    """The archive of images with their names."""
    async with spooled(store, [image for image, _ in chosen]) as spool:
        yield Archive(await _plan(store, chosen, spool))


@asynccontextmanager
async def spooled(store: ImageCatalogue, images: Sequence[Image]) -> AsyncIterator[str]:
    """A directory for what has to be written out first; the images' layers stay until it is gone."""
    spool = os.path.join(store.tmp, f"save-{secrets.token_hex(8)}")
    os.mkdir(spool, 0o700)
    with store.pins() as pins:
        for image in images:
            pins.image(image)
        try:
            yield spool
        finally:
            await asyncio.shield(run_blocking(_remove, spool))


def annotations_of_names(names: Sequence[Reference]) -> list[dict[str, str] | None]:
    """What entries of index.json say of names; one entry if there is none."""
    return [{CONTAINERD_NAME: str(name), REF_NAME: name.tag or ""} for name in names] or [None]


def _remove(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _choose(
    store: ImageCatalogue, texts: Sequence[str], platforms: Sequence[Platform]
) -> tuple[list[tuple[Image, list[Reference]]], list[SavedIndex]]:
    chosen: dict[Digest, tuple[Image, list[Reference]]] = {}
    lists: dict[Reference, SavedIndex] = {}
    for text in texts:
        for found, names in _named(store, text):
            named = str(names[0]) if names else found.id
            images = [store.variant(named, platform) for platform in platforms or (None,)]
            for image in images:
                known = chosen.setdefault(image.id, (image, []))[1]
                if image.id == images[0].id:
                    known.extend(name for name in names if name not in known)
            if len(platforms) != 1:
                found_lists = (_saved_index(store, name, images) for name in names)
                lists.update({each.name: each for each in found_lists if each is not None})
    return list(chosen.values()), list(lists.values())


def _saved_index(store: ImageCatalogue, name: Reference, images: Sequence[Image]) -> SavedIndex | None:
    """The index of a name, if there is more in it than one image."""
    kept = store.indexes.of(name)
    if kept is None:
        return None
    manifests = {image.manifest_digest for image in images if image.manifest_digest is not None}
    listed = {each.digest for each in kept.manifests}
    blobs = {blob for image in images for each in of_image(store, image, listed) for blob in each.blobs}
    if (len(manifests) == 1 and not blobs) or not manifests <= listed:
        return None
    return SavedIndex(
        name=name, index=kept, manifests=frozenset(manifests), attestation_blobs=frozenset(blobs)
    )


def _named(store: ImageCatalogue, text: str) -> list[tuple[Image, list[Reference]]]:
    """The images of one argument, with those of their names that it asks for."""
    with suppress(InvalidReference):
        reference = parse_normalized(text)
        if reference.is_name_only:
            rows = store.ledger.query(
                "SELECT name, image_id FROM names WHERE name >= ? AND name < ? ORDER BY name",
                (f"{reference.name}:", f"{reference.name};"),
            )
            if rows:
                return [(store.get(r["image_id"]), [parse_normalized(r["name"])]) for r in rows]
        elif reference.tag is not None and store.id_of_name(reference) is not None:
            return [(store.resolve(text), [reference])]
    image = store.find(text)
    if image is None:
        raise NoSuchImage(text)  # here Docker does not add the tag that it assumes elsewhere
    return [(image, [])]


async def _plan(
    store: ImageCatalogue, chosen: Sequence[tuple[Image, Sequence[Reference]]], spool: str
) -> Plan:
    plan = Plan()
    for image, names in chosen:
        moment = created_ns(image.document.created)
        layers = [await plan_layer(store, plan, image, i, spool, moment) for i in range(len(image.layers))]
        raw_manifest = _manifest(image, layers)
        for raw in (image.raw_config, raw_manifest):
            plan.documents[digest_of(raw)] = raw
            plan.mtimes[digest_of(raw)] = moment
        _list_image(plan, image, names, raw_manifest, layers)
    return plan


async def plan_layer(
    store: ImageCatalogue, plan: Plan, image: Image, position: int, spool: str, moment: int
) -> Descriptor:
    """Take a layer into the plan as it was kept, or else as a plain tar; how a manifest names it."""
    layer = image.layers[position]
    plan_key = layer.blob or layer.diff_id
    plan.mtimes.setdefault(plan_key, moment)
    if layer.blob is not None and store.blobs.has(layer.blob):
        plan.layers[layer.blob] = store.blobs.path(layer.blob)
        size = store.blobs.size(layer.blob)
        return Descriptor(media_type=layer.media_type or OCI_LAYER, digest=layer.blob, size=size)
    tar = store.layers.tar(layer.diff_id)
    if tar is not None:
        plan.layers[layer.diff_id] = tar
        plan.tars.add(layer.diff_id)
    if layer.diff_id not in plan.layers:
        path = os.path.join(spool, hex_of(layer.diff_id))
        source = store.layers.source(layer.diff_id)
        await run_blocking(_spool, store, source, layer.diff_id, path)
        plan.layers[layer.diff_id] = path
    size = os.stat(plan.layers[layer.diff_id]).st_size
    return Descriptor(media_type=OCI_LAYER, digest=layer.diff_id, size=size)


def _spool(store: ImageCatalogue, source: str, diff_id: Digest, path: str) -> None:
    # A tar's length must stand before it, so the layer is written out first (and verified).
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        store.layers.write_tar_of(source, diff_id, fd)
    finally:
        os.close(fd)


def _manifest(image: Image, layers: list[Descriptor]) -> bytes:
    if image.raw_manifest is not None:
        named = [layer.digest for layer in decode_manifest(image.raw_manifest).layers]
        if named == [layer.digest for layer in layers]:
            return image.raw_manifest
    config = Descriptor(media_type=OCI_CONFIG, digest=image.id, size=len(image.raw_config))
    return msgspec.json.encode(
        Manifest(schema_version=2, media_type=OCI_MANIFEST, config=config, layers=layers)
    )


def _list_image(
    plan: Plan, image: Image, names: Sequence[Reference], raw_manifest: bytes, layers: list[Descriptor]
) -> None:
    platform = DescriptorPlatform(
        architecture=image.document.architecture,
        os=image.document.os or "linux",
        variant=image.document.variant,
    )
    for said in annotations_of_names(names):
        plan.index.append(
            Descriptor(
                media_type=_media_type(raw_manifest),
                digest=digest_of(raw_manifest),
                size=len(raw_manifest),
                annotations=said,
                platform=platform,
            )
        )
    list_for_docker(plan, image, names, layers)


def list_for_docker(
    plan: Plan, image: Image, names: Sequence[Reference], layers: Sequence[Descriptor]
) -> None:
    """Put an image into the tables of a docker-archive."""
    plan.items.append(
        ArchiveItem(
            config=_blob_name(image.id),
            repo_tags=[name.familiar for name in names] or None,
            layers=[_blob_name(layer.digest) for layer in layers],
        )
    )
    top = hex_of(layers[-1].digest) if layers else ""
    for name in names:
        plan.repositories.setdefault(name.familiar_name, {})[name.tag or ""] = top


def _media_type(raw_manifest: bytes) -> str:
    return decode_manifest(raw_manifest).media_type or OCI_MANIFEST


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


# -- writing --------------------------------------------------------------------------------------


async def read_pieces(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
    """The bytes of pieces, which are closed with it."""
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, FilePiece):
                read = piece.read()
                while data := await run_blocking(next, read, b""):
                    yield data
            else:
                yield piece


async def _pieces(plan: Plan) -> AsyncGenerator[Piece, None]:
    heads: list[bytes] = []
    writer = TarWriter(lambda data: heads.append(bytes(data)))
    for name in (b"blobs", b"blobs/sha256"):
        writer.add(TarEntry(name, DIRECTORY, 0o755))
    for digest in sorted({*plan.documents, *plan.layers}):
        entry = TarEntry(_blob_name(digest).encode(), mtime_ns=max(0, plan.mtimes.get(digest, 0)))
        if digest in plan.documents:
            writer.add_bytes(entry, plan.documents[digest])
            yield _taken(heads)
            continue
        with open(plan.layers[digest], "rb", buffering=0) as source:
            entry.size = os.fstat(source.fileno()).st_size
            writer.add(entry)
            writer.content_elsewhere()
            yield _taken(heads)
            async with aclosing(_content(source.fileno(), entry.size, digest, plan)) as pieces:
                async for piece in pieces:
                    yield piece
    for name, raw in _tables(plan):
        writer.add_bytes(TarEntry(name), raw)
    writer.close()
    yield _taken(heads)


def _taken(heads: list[bytes]) -> bytes:
    data = b"".join(heads)
    heads.clear()
    return data


async def _content(fd: int, size: int, digest: Digest, plan: Plan) -> AsyncGenerator[FilePiece, None]:
    """A layer's file. One in use is verified meanwhile: its end is held back until that is done."""
    if digest not in plan.tars:
        yield FilePiece(fd, 0, size)
        return
    end = min(size, _HELD_BACK)
    given_up = threading.Event()
    check = asyncio.ensure_future(run_blocking(_verify, FilePiece(fd, 0, size), digest, given_up))
    try:
        yield FilePiece(fd, 0, size - end)
        await check
        yield FilePiece(fd, size - end, end)
    finally:
        given_up.set()
        with suppress(Exception):
            await asyncio.shield(check)


def _verify(piece: FilePiece, digest: Digest, given_up: threading.Event) -> None:
    content = hashlib.sha256()
    for data in piece.read():
        if given_up.is_set():
            return
        content.update(data)
    if (actual := from_hex(content.hexdigest())) != digest:
        raise DigestMismatch(digest, actual)


def _tables(plan: Plan) -> list[tuple[bytes, bytes]]:
    index = Index(schema_version=2, media_type=OCI_INDEX, manifests=plan.index)
    tables = [(b"index.json", msgspec.json.encode(index))]
    if plan.items:
        tables.append((b"manifest.json", msgspec.json.encode(plan.items)))
    tables.append((b"oci-layout", b'{"imageLayoutVersion": "1.0.0"}'))
    if plan.repositories:
        tables.append((b"repositories", msgspec.json.encode(plan.repositories) + b"\n"))
    return tables
