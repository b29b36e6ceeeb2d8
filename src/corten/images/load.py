"""`docker load`: images out of a docker-archive or an OCI layout, plain or compressed.

Docker 25 and later write both into one tar; then index.json is believed, because it has the manifests,
and manifest.json only where there is no index (docker-archive v1.2, image-spec's image-layout.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from corten.content import SizeMismatch
from corten.digest import Digest, digest_of, is_digest
from corten.errors import InvalidParameter, NotFound, NotSupported
from corten.images import attestations
from corten.images.archive_reader import Member, SpooledArchive
from corten.images.blocking import ProgressQueue, feed, run_blocking, run_to_end
from corten.images.catalogue import ImageCatalogue, Pins
from corten.images.early_layers import EarlyLayers
from corten.images.image import ImageLayer
from corten.images.unpacking import unpack_layer
from corten.oci.image import (
    CONTAINERD_NAME,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_LAYER,
    REF_NAME,
    ArchiveItem,
    Descriptor,
    ImageDocument,
    InvalidDocument,
    decode,
    decode_config,
    decode_index,
    decode_manifest,
    kind_of,
)
from corten.platforms import Platform, best_match, host_platform
from corten.reference import InvalidReference, Reference, parse_normalized
from corten.snapshots.decompress import Limits
from corten.snapshots.errors import BadArchive
from corten.snapshots.layers import NewLayer
from corten.types.progress import JSONMessage, ProgressDetail

log = logging.getLogger(__name__)

_MAX_INDEX_DEPTH = 4
_MAX_IMAGES = 1000


@dataclass(slots=True)
class _Found:
    """An image of the archive: its documents, its layers' members (lowest first), its names.

    index: the index it is a member of. variant: its names are those of another member.
    """

    raw_config: bytes
    document: ImageDocument
    layers: list[tuple[Member, str]]
    raw_manifest: bytes | None = None
    names: list[Reference] = field(default_factory=list)
    index: bytes | None = None
    variant: bool = False


async def load(
    store: ImageCatalogue,
    body: AsyncIterator[bytes],
    *,
    quiet: bool = False,
    platforms: Sequence[Platform] = (),
    limits: Limits | None = None,
) -> AsyncIterator[JSONMessage]:
    """Load all images of the archive in `body`; yields Docker's progress lines.

    platforms: which members of indexes; by default the host's. The first that is here gets the name.
    Raises BadArchive, InvalidDocument, DigestMismatch; what was loaded before stays.
    """
    progress = ProgressQueue()
    work = _load(store, body, progress, quiet, platforms, limits or Limits())
    async with aclosing(progress.stream(work)) as lines:
        async for line in lines:
            yield line


async def _load(
    store: ImageCatalogue,
    body: AsyncIterator[bytes],
    progress: ProgressQueue,
    quiet: bool,
    platforms: Sequence[Platform],
    limits: Limits,
) -> None:
    directory = os.path.join(store.tmp, f"docker-import-{secrets.randbelow(10**10)}")
    os.mkdir(directory, 0o700)
    early = EarlyLayers(store)
    try:
        archive = SpooledArchive(directory, early)
        await feed(body, lambda chunks: archive.spool(chunks, limits))
        for found in _images_of(archive, platforms):
            await _load_image(store, archive, found, early, progress, quiet)
    finally:
        await asyncio.shield(run_blocking(_tidy_up, early, directory))


def _tidy_up(early: EarlyLayers, directory: str) -> None:
    early.close()
    shutil.rmtree(directory, ignore_errors=True)


# -- reading the archive's tables of contents -----------------------------------------------------


def _images_of(archive: SpooledArchive, platforms: Sequence[Platform]) -> list[_Found]:
    index = archive.find("index.json")
    if index is not None and archive.find("oci-layout") is not None:
        found = _from_index(archive, index.read(), platforms)
        _add_names_of_manifest_json(archive, found)
    else:
        found = _from_manifest_json(archive)
    if len(found) > _MAX_IMAGES:
        raise InvalidParameter(f"archive has more than {_MAX_IMAGES} images")
    return found


def _archive_items(archive: SpooledArchive) -> list[ArchiveItem]:
    member = archive.find("manifest.json")
    if member is None:
        # Docker then looks for the table of its first archives, and that is what it reports.
        raise InvalidParameter(f"open {archive.directory}/repositories: no such file or directory")
    return decode(member.read(), list[ArchiveItem], "manifest.json")


def _from_manifest_json(archive: SpooledArchive) -> list[_Found]:
    found = []
    for item in _archive_items(archive):
        raw_config = archive.get(item.config).read()
        document = decode_config(raw_config)
        paths = item.layers or []
        if len(paths) != len(document.diff_ids):
            want, have = len(document.diff_ids), len(paths)
            raise InvalidParameter(f"invalid manifest, layers length mismatch: expected {want}, got {have}")
        layers = [(archive.get(path), OCI_LAYER) for path in paths]
        found.append(_Found(raw_config, document, layers, names=_tags(item.repo_tags or [])))
    return found


def _add_names_of_manifest_json(archive: SpooledArchive, found: list[_Found]) -> None:
    """docker save writes names into both tables, skopeo and others only into one."""
    if archive.find("manifest.json") is None:
        return
    by_id = {digest_of(image.raw_config): image for image in found}
    taken = [name for image in found for name in image.names]
    for item in _archive_items(archive):
        config = archive.find(item.config)
        image = by_id.get(config.digest) if config is not None else None
        if image is not None:
            image.names += [name for name in _tags(item.repo_tags or []) if name not in taken]


def _tags(texts: list[str]) -> list[Reference]:
    names = []
    for text in texts:
        reference = parse_normalized(text)
        if reference.tag is None or reference.digest is not None:
            raise InvalidParameter(f'invalid tag "{text}"')
        names.append(reference)
    return names


def _from_index(archive: SpooledArchive, raw_index: bytes, platforms: Sequence[Platform]) -> list[_Found]:
    found: list[_Found] = []
    missing: set[Platform | None] = set(platforms)
    for descriptor in decode_index(raw_index).manifests:
        if attestations.is_attestation(descriptor):
            continue
        members = []
        for platform in platforms or (None,):
            image = _resolve(archive, descriptor, platform, 0)
            if image is None:
                continue  # nothing for this platform
            missing.discard(platform)
            same = next((f for f in found if f.raw_config == image.raw_config), image)
            if same is image:
                found.append(image)
            if same not in members:
                members.append(same)
        _add_to_index(archive, descriptor, members)
    if missing or not found:
        wanted = next((p for p in platforms if p in missing), None) or host_platform()
        raise NotFound(f"no image for platform {wanted} in the archive")
    return found


def _add_to_index(archive: SpooledArchive, descriptor: Descriptor, members: list[_Found]) -> None:
    """Give the name of an index.json's entry to the first of the images it stands for."""
    name = _name_of(descriptor)
    raw = archive.blob(descriptor.digest).read() if members else b""
    index = raw if members and kind_of(raw, descriptor.media_type) in INDEX_TYPES else None
    for position, image in enumerate(members):
        image.index = image.index or index
        if position == 0 and name is not None and name not in image.names:
            image.names.append(name)
        image.variant = image.variant or position > 0


def _name_of(descriptor: Descriptor) -> Reference | None:
    annotations = descriptor.annotations or {}
    # ref.name is a bare tag in layouts of some tools; then there is no name to go with it.
    for text in (annotations.get(CONTAINERD_NAME), annotations.get(REF_NAME)):
        if text and ("/" in text or ":" in text):
            try:
                return parse_normalized(text).with_default_tag()
            except InvalidReference:
                continue
    return None


def _resolve(
    archive: SpooledArchive, descriptor: Descriptor, platform: Platform | None, depth: int
) -> _Found | None:
    if depth > _MAX_INDEX_DEPTH:
        raise InvalidParameter("image indexes are nested too deep")
    raw = archive.blob(descriptor.digest).read()
    kind = kind_of(raw, descriptor.media_type)
    if kind in INDEX_TYPES:
        return _best_of(archive, raw, platform, depth)
    if kind not in MANIFEST_TYPES:
        return None
    manifest = decode_manifest(raw)
    raw_config = archive.blob(manifest.config.digest).read()
    document = decode_config(raw_config)
    if len(manifest.layers) != len(document.diff_ids):
        return None  # an artifact: its layers are no file systems
    layers = [(archive.blob(layer.digest), layer.media_type) for layer in manifest.layers]
    return _Found(raw_config, document, layers, raw_manifest=raw)


def _best_of(archive: SpooledArchive, raw: bytes, platform: Platform | None, depth: int) -> _Found | None:
    present = [m for m in decode_index(raw).manifests if archive.has_blob(m.digest)]
    offers = [(m.platform.normalized(), m) for m in present if m.platform is not None]
    chosen = best_match(platform or host_platform(), offers)
    if chosen is None and platform is None and len(offers) == 1:
        chosen = offers[0][1]  # an archive of one foreign image is loaded as what it is
    if chosen is None and not offers and len(present) == 1:
        chosen = present[0]
    return _resolve(archive, chosen, platform, depth + 1) if chosen is not None else None


# -- storing --------------------------------------------------------------------------------------


async def _load_image(
    store: ImageCatalogue,
    archive: SpooledArchive,
    found: _Found,
    early: EarlyLayers,
    progress: ProgressQueue,
    quiet: bool,
) -> None:
    diff_ids = found.document.diff_ids
    with store.pins() as pins:
        try:
            async with asyncio.TaskGroup() as tasks:
                wanted = {d: member for d, (member, _) in zip(diff_ids, found.layers, strict=True)}
                for diff_id, member in wanted.items():
                    pins.layer(diff_id)
                    pins.blob(member.digest)
                    if not store.layers.has(diff_id):
                        tasks.create_task(_load_layer(store, diff_id, member, early, progress, quiet))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        layers = [
            await _keep_blob(store, diff_id, member, media_type)
            for diff_id, (member, media_type) in zip(diff_ids, found.layers, strict=True)
        ]
        attested = await _attestations(store, archive, found, pins)
        with store.ledger.transaction():
            image = store.create(found.raw_config, layers, raw_manifest=found.raw_manifest)
            for name in found.names:
                store.point_name(name, image.id)
                if found.index is not None:
                    store.indexes.keep(name, found.index)
            attestations.keep(store, attested)
    store.event("load", image.id, image.id)
    for name in found.names:
        store.event("tag", image.id, name.familiar)
        progress.put(JSONMessage(stream=f"Loaded image: {name.familiar}\n"))
    if not found.names and not found.variant:
        progress.put(JSONMessage(stream=f"Loaded image ID: {image.id}\n"))


async def _attestations(
    store: ImageCatalogue, archive: SpooledArchive, found: _Found, pins: Pins
) -> list[attestations.Attestation]:
    """What the index that is kept says of the image, as far as the archive brings all of it."""
    if found.index is None or found.raw_manifest is None or not (found.names or found.variant):
        return []

    async def read(descriptor: Descriptor) -> bytes:
        return archive.blob(descriptor.digest).read(descriptor.size)

    try:
        return await attestations.fetch(store, found.index, digest_of(found.raw_manifest), read, pins)
    except (BadArchive, InvalidDocument, NotSupported, SizeMismatch) as e:
        log.info("attestations are not kept", extra={"reason": str(e)})
        return []


async def _load_layer(
    store: ImageCatalogue,
    diff_id: Digest,
    member: Member,
    early: EarlyLayers,
    progress: ProgressQueue,
    quiet: bool,
) -> None:
    short = diff_id[7:19]

    def report(read: int) -> None:
        if not quiet:
            detail = ProgressDetail(current=min(read, member.size), total=member.size)
            progress.put(JSONMessage(status="Loading layer", progress_detail=detail, id=short))

    unpacking = early.claim(member.path)
    if unpacking is not None:
        layer = await unpacking.result()
    elif member.digest == diff_id and member.path and store.layers.keeps_tars:
        layer = await run_to_end(_nothing, store.layers.from_tar, member.path, diff_id)
    else:
        layer = await _unpack(store, member, report)
    if layer.diff_id != diff_id:
        store.layers.drop(layer)
        raise InvalidParameter(f'invalid diffID for layer: expected "{diff_id}", got "{layer.diff_id}"')
    store.layers.adopt(layer)
    report(member.size)


async def _unpack(store: ImageCatalogue, member: Member, report: Callable[[int], None]) -> NewLayer:
    fd = member.open()
    try:
        return await unpack_layer(store.layers, fd, None, report)
    finally:
        os.close(fd)


async def _keep_blob(store: ImageCatalogue, diff_id: Digest, member: Member, media_type: str) -> ImageLayer:
    """Keep the layer as it travelled, so that save and push copy it; a plain tar may be the layer itself."""
    if not is_digest(member.digest):
        raise InvalidParameter("invalid layer digest")
    if member.digest == diff_id and store.layers.tar(diff_id) is not None:
        return ImageLayer(diff_id=diff_id)
    try:
        if not store.blobs.has(member.digest):
            await run_to_end(_nothing, _store_blob, store, member)
    finally:
        # Also when cancelled a moment too late: what is on disk has a row.
        if store.blobs.has(member.digest):
            store.record_blob(member.digest)
    return ImageLayer(diff_id=diff_id, blob=member.digest, media_type=media_type)


def _nothing() -> None:
    """A rename is soon over."""


def _store_blob(store: ImageCatalogue, member: Member) -> None:
    if member.path:
        store.blobs.adopt(member.path, member.digest, durable=False)
        # The same content may be named again further down in the archive.
        member.path = store.blobs.path(member.digest)
        return
    with store.blobs.writer(member.digest, member.size) as writer:
        writer.write(member.data or b"")
        writer.commit(durable=False)
