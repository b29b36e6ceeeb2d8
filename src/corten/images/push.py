"""`docker push`: layers that the registry has not, then configuration, manifest and tag.

::

    each layer, uppermost first:   there already? ─► mount from another repository? ─► upload
                                                          (kept blob, or compressed by a worker)
    config ─► manifest under its tag

An image that was pulled is pushed as it came, byte for byte, as long as its blobs are known. The progress
lines are Docker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from corten.digest import Digest, digest_of, short_id
from corten.errors import NotFound
from corten.images import attestations
from corten.images.attestations import MAX_BLOB_BYTES
from corten.images.blocking import ProgressQueue, run_blocking, run_to_end
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image, ImageLayer
from corten.images.push_layers import LayerPusher
from corten.images.transfer import TransferSettings, Turns, retried
from corten.oci.image import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    MAX_MANIFEST_BYTES,
    OCI_CONFIG,
    OCI_LAYER_OF,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    decode_manifest,
    kind_of,
)
from corten.platforms import Platform
from corten.reference import Reference
from corten.registry.client import BytesBody, PushTarget
from corten.types.progress import JSONMessage, ProgressDetail
from corten.types.system import AuthConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions:
    """What to push. platform: that image only, even if the name stands for an index."""

    auth: AuthConfig | None = None
    all_tags: bool = False
    platform: Platform | None = None
    settings: TransferSettings


async def push(
    store: ImageCatalogue, reference: Reference, options: PushOptions, turns: Turns
) -> AsyncIterator[JSONMessage]:
    """Push a name, or all tags of its repository; yields Docker's progress lines.

    turns: uploads of the whole engine. Raises NotFound (no such tag), RegistryError.
    """
    progress = ProgressQueue()
    work = _Push(store, reference, options, turns, progress).run()
    async with aclosing(progress.stream(work)) as lines:
        async for line in lines:
            yield line


class _Push:
    """One push of one or more tags of a repository."""

    def __init__(
        self,
        store: ImageCatalogue,
        reference: Reference,
        options: PushOptions,
        turns: Turns,
        progress: ProgressQueue,
    ) -> None:
        self._store = store
        self._reference = reference
        self._options = options
        self._settings = options.settings
        self._turns = turns
        self._progress = progress
        self._done: dict[Digest, Descriptor] = {}

    async def run(self) -> None:
        """Push everything."""
        reference = self._reference
        self._say(f"The push refers to repository [{reference.name}]")
        names = self._store.tags_of(reference)
        if not names:
            raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
        if not self._options.all_tags:
            wanted = reference.with_default_tag()
            if wanted not in names:
                raise NotFound(f"tag does not exist: {wanted.familiar}")
            names = [wanted]
        # In a thread: finding out whether a host is trusted may ask the resolver.
        with await run_blocking(PushTarget, reference, self._options.auth, self._settings.hosts) as target:
            pusher = LayerPusher(self._store, reference, target, self._settings, self._turns)
            for name in names:
                await self._tag(name, target, pusher)

    def _say(self, status: str, layer: str = "", detail: ProgressDetail | None = None) -> None:
        self._progress.put(JSONMessage(status=status, id=layer, progress_detail=detail))

    async def _tag(self, name: Reference, target: PushTarget, pusher: LayerPusher) -> None:
        image = self._store.variant(str(name), self._options.platform)
        raw, media_type = await self._content(image, target, pusher)
        kept = self._store.indexes.of(name) if self._options.platform is None else None
        if kept is not None and await self._variants(name, target, pusher):
            raw, media_type = kept.raw, kept.media_type
        tag = name.tag or ""
        digest = await self._retried(target, target.put_manifest, tag, raw, media_type)
        pinned = name.with_digest(digest)
        with self._store.ledger.transaction():
            self._store.point_name(pinned, image.id)
            if kept is not None and kept.raw == raw:
                self._store.indexes.keep(pinned, raw)
        self._say(f"{tag}: digest: {digest} size: {len(raw)}")
        aux: dict[str, object] = {"Tag": tag, "Digest": digest, "Size": len(raw)}
        self._progress.put(JSONMessage(progress_detail=ProgressDetail(), aux=aux))
        self._store.event("push", image.id, name.familiar_name, actor=name.familiar)

    async def _content(self, image: Image, target: PushTarget, pusher: LayerPusher) -> tuple[bytes, str]:
        """Bring layers and configuration there; the manifest that is to follow, and its media type."""
        with self._store.pins() as pins:
            pins.image(image)
            descriptors = await self._layers(image, target, pusher)
            raw, media_type = _manifest(image, descriptors)
            await self._retried(target, self._upload_config, target, image)
        self._store.keep_manifest(image.id, raw)
        return raw, media_type

    async def _variants(self, name: Reference, target: PushTarget, pusher: LayerPusher) -> bool:
        """Bring all manifests of the name's index there; False if one is neither here nor there."""
        for descriptor, image_id in self._store.indexes.variants(name):
            digest = Digest(descriptor.digest)
            image = self._store.find(image_id) if image_id is not None else None
            attestation = attestations.find(self._store, digest) if image is None else None
            if attestation is not None:
                await self._attestation(descriptor, attestation, target)
                continue
            if image is None:
                if not await self._retried(target, target.has_manifest, digest):
                    return False
                continue
            raw, media_type = await self._content(image, target, pusher)
            if digest_of(raw) != digest:
                return False
            await self._retried(target, target.put_manifest, digest, raw, media_type)
        return True

    async def _attestation(
        self, descriptor: Descriptor, attestation: attestations.Attestation, target: PushTarget
    ) -> None:
        """Bring one that is here there."""

        def upload(digest: Digest) -> None:
            if not target.has_blob(digest):
                target.upload(digest, BytesBody(self._store.blobs.read(digest, MAX_BLOB_BYTES)))

        with self._store.pins() as pins:
            for blob in attestation.blobs:
                pins.blob(blob)
            manifest, *contents = attestation.blobs
            for blob in contents:
                await self._retried(target, upload, blob)
            raw = self._store.blobs.read(manifest, MAX_MANIFEST_BYTES)
            await self._retried(
                target, target.put_manifest, manifest, raw, kind_of(raw, descriptor.media_type)
            )

    async def _retried(self, target: PushTarget, function: Callable[..., T], *arguments: object) -> T:
        def once() -> Awaitable[T]:
            return run_to_end(target.abort, function, *arguments)

        return await retried(self._settings, self._say, once)

    @staticmethod
    def _upload_config(target: PushTarget, image: Image) -> None:
        if not target.has_blob(image.id):
            target.upload(image.id, BytesBody(image.raw_config))

    async def _layers(self, image: Image, target: PushTarget, pusher: LayerPusher) -> list[Descriptor]:
        """All layers' descriptors, lowest first, once they are there."""
        known = _descriptors(image)
        missing: dict[Digest, tuple[ImageLayer, Descriptor | None]] = {}
        for position, layer in reversed(list(enumerate(image.layers))):
            if layer.diff_id not in self._done and layer.diff_id not in missing:
                missing[layer.diff_id] = (layer, known[position] if known else None)
            self._say("Preparing", short_id(layer.diff_id), ProgressDetail())
        for layer in reversed(image.layers):
            if layer.diff_id in self._done:
                self._say("Layer already exists", short_id(layer.diff_id), ProgressDetail())
        # Nobody waits for a registry that is not there at all: only what breaks later is tried again.
        await run_to_end(target.abort, target.ping)
        try:
            async with asyncio.TaskGroup() as tasks:
                for diff_id, (layer, descriptor) in missing.items():
                    tasks.create_task(self._layer(diff_id, layer, descriptor, pusher))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return [self._done[layer.diff_id] for layer in image.layers]

    async def _layer(
        self, diff_id: Digest, layer: ImageLayer, known: Descriptor | None, pusher: LayerPusher
    ) -> None:
        name = short_id(diff_id)

        def say(status: str, detail: ProgressDetail) -> None:
            self._say(status, name, detail)

        self._done[diff_id] = await pusher.push(layer, known, say)


def _descriptors(image: Image) -> list[Descriptor] | None:
    """The layers as the image's own manifest names them, if it has one."""
    if image.raw_manifest is None:
        return None
    layers = decode_manifest(image.raw_manifest).layers
    return layers if len(layers) == len(image.layers) else None


def _manifest(image: Image, layers: list[Descriptor]) -> tuple[bytes, str]:
    """The manifest to push and its media type: the image's own if it names the layers as they were pushed."""
    own = _descriptors(image)
    same = own is not None and [each.digest for each in own] == [each.digest for each in layers]
    if same and image.raw_manifest is not None:
        return image.raw_manifest, decode_manifest(image.raw_manifest).media_type or OCI_MANIFEST
    # A manifest is Docker's or OCI's throughout; OCI's as soon as a layer's form has no Docker name.
    docker = all(layer.media_type in OCI_LAYER_OF for layer in layers)
    config_type, media_type = (DOCKER_CONFIG, DOCKER_MANIFEST) if docker else (OCI_CONFIG, OCI_MANIFEST)
    manifest = Manifest(
        schema_version=2,
        media_type=media_type,
        config=Descriptor(media_type=config_type, digest=image.id, size=len(image.raw_config)),
        layers=[
            Descriptor(
                media_type=each.media_type if docker else OCI_LAYER_OF.get(each.media_type, each.media_type),
                digest=each.digest,
                size=each.size,
            )
            for each in layers
        ],
    )
    return msgspec.json.encode(manifest), media_type
