"""`docker pull`: an image out of a registry.

::

    tag or digest ─► manifest (of this platform) ─► config ─► layers not here yet ─► image row, names
                                                                │ each: download ─► verify ─► unpack ─► verify

Nothing is visible before it is verified, and the image before all its layers are. The progress lines
are Docker's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from corten.content import SizeMismatch
from corten.digest import Digest, short_id
from corten.errors import NotFound, NotSupported
from corten.images import attestations
from corten.images.blocking import ProgressQueue, run_blocking
from corten.images.catalogue import ImageCatalogue, Pins
from corten.images.downloads import Downloads
from corten.images.image import Image, ImageLayer
from corten.images.policy import record_verified
from corten.images.remote_layers import RemoteLayers
from corten.images.transfer import TransferSettings
from corten.oci.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_CONFIG_BYTES,
    Descriptor,
    ImageDocument,
    InvalidDocument,
    Manifest,
    decode_config,
    decode_index,
    decode_manifest,
)
from corten.platforms import Platform, best_match, host_platform
from corten.reference import Reference
from corten.registry.client import RemoteManifest, RemoteRegistry
from corten.registry.client.errors import (
    AccessDenied,
    ManifestUnknown,
    RegistryError,
    RepositoryUnknown,
)
from corten.types.progress import JSONMessage, ProgressDetail
from corten.types.system import AuthConfig

_MAX_INDEX_DEPTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """How to pull."""

    platform: Platform | None = None
    auth: AuthConfig | None = None
    settings: TransferSettings
    downloads: Downloads


async def pull(
    store: ImageCatalogue, reference: Reference, options: PullOptions, *, all_tags: bool = False
) -> AsyncIterator[JSONMessage]:
    """Pull an image, or all tags of a repository; yields Docker's progress lines.

    Raises NotFound (no such manifest, no access), RegistryError, InvalidDocument, DigestMismatch.
    """
    progress = ProgressQueue()

    async def work() -> None:
        # In a thread: finding out whether a host is trusted may ask the resolver.
        hosts = options.settings.hosts
        with await run_blocking(RemoteRegistry, reference, options.auth, hosts) as remote:
            wanted = [reference.with_default_tag()]
            if all_tags:
                tags = await _translated(reference, run_blocking(remote.tags))
                wanted = [reference.with_tag(tag) for tag in tags]
            for each in wanted:
                await _Pull(store, each, remote, options, progress).run()

    async with aclosing(progress.stream(work())) as lines:
        async for line in lines:
            yield line


T = TypeVar("T")


class _Pull:
    """One pull of one tag or digest."""

    def __init__(
        self,
        store: ImageCatalogue,
        reference: Reference,
        remote: RemoteRegistry,
        options: PullOptions,
        progress: ProgressQueue,
    ) -> None:
        self._store = store
        self._reference = reference
        self._remote = remote
        self._options = options
        self._progress = progress

    async def run(self) -> None:
        reference = self._reference
        wanted = reference.digest or reference.tag or ""
        top = await _translated(reference, run_blocking(self._remote.manifest, wanted))
        self._say(f"Pulling from {reference.path}", wanted)
        chosen = await self._of_platform(top, 0)
        settings, digests = self._options.settings, (top.digest, chosen.digest)
        signer = await run_blocking(
            settings.signatures.check_pull, reference, digests, self._options.auth, settings.hosts
        )
        manifest = decode_manifest(chosen.raw)
        before = self._store.id_of_name(reference)
        with self._store.pins() as pins:
            attested = await self._attestations(top, chosen.digest, pins)
            brought = await self._brought(manifest, chosen, pins)
            pinned = reference.with_digest(top.digest)
            names = [pinned] if reference.digest is not None else [pinned, reference]
            with self._store.ledger.transaction():  # an image without its names would be nobody's
                image = brought()
                self._store.keep_manifest(image.id, chosen.raw, replace=True)
                for name in names:
                    self._store.point_name(name, image.id)
                    if top.media_type in INDEX_TYPES:
                        self._store.indexes.keep(name, top.raw)
                attestations.keep(self._store, attested)
                if signer:
                    record_verified(self._store.ledger, image.id, signer)
        if self._remote.rate_limit is not None:
            self._say(f"Rate limit: {self._remote.rate_limit}")
        self._say(f"Digest: {top.digest}")
        news = "Image is up to date" if before == image.id else "Downloaded newer image"
        self._say(f"Status: {news} for {reference.familiar}")
        self._store.event("pull", image.id, reference.familiar_name, actor=reference.familiar)

    def _say(self, status: str, layer: str = "", detail: ProgressDetail | None = None) -> None:
        self._progress.put(JSONMessage(status=status, id=layer, progress_detail=detail))

    async def _brought(self, manifest: Manifest, found: RemoteManifest, pins: Pins) -> Callable[[], Image]:
        """Fetch what of the image is not here. What is returned gives the image, or makes it at once."""
        # As in Docker: of an image that is here, whatever it is called, nothing is fetched.
        image = self._store.find(manifest.config.digest)
        if image is not None and self._suits(image.document):
            return partial(self._store.get, image.id)
        raw_config, document = await self._config(manifest)
        layers = await self._layers(manifest, document, pins)
        return partial(self._store.create, raw_config, layers, raw_manifest=found.raw)

    # -- documents ------------------------------------------------------------------------------

    async def _of_platform(self, found: RemoteManifest, depth: int) -> RemoteManifest:
        if found.media_type in MANIFEST_TYPES:
            return found
        if found.media_type not in INDEX_TYPES:
            raise InvalidDocument(f"unsupported media type {found.media_type[:100]}")
        if depth >= _MAX_INDEX_DEPTH:
            raise InvalidDocument("image indexes are nested too deep")
        platform = self._options.platform or host_platform()
        manifests = decode_index(found.raw).manifests
        offers = [(m.platform.normalized(), m) for m in manifests if m.platform is not None]
        chosen = best_match(platform, offers)
        if chosen is None:
            raise NotFound(f"no matching manifest for {platform} in the manifest list entries")
        inner = await _translated(self._reference, run_blocking(self._remote.manifest, chosen.digest))
        if len(inner.raw) != chosen.size:
            raise SizeMismatch(chosen.size, len(inner.raw))
        return await self._of_platform(inner, depth + 1)

    async def _config(self, manifest: Manifest) -> tuple[bytes, ImageDocument]:
        config = manifest.config
        if config.size > MAX_CONFIG_BYTES:
            raise InvalidDocument("invalid image config: too large")
        digest = Digest(config.digest)
        reading = run_blocking(self._remote.read_blob, digest, MAX_CONFIG_BYTES)
        raw = await _translated(self._reference, reading)
        if len(raw) != config.size:
            raise SizeMismatch(config.size, len(raw))
        try:
            document = decode_config(raw)
        except InvalidDocument as e:
            if "container.image" in config.media_type or "oci.image.config" in config.media_type:
                raise
            raise InvalidDocument(
                f'unsupported media type "{config.media_type[:100]}" of image config'
            ) from e
        if len(document.diff_ids) != len(manifest.layers):
            raise InvalidDocument("invalid rootfs in image configuration")
        if not self._suits(document):
            raise NotFound(
                f"image with reference {self._reference.familiar} was found but does not match the specified "
                f"platform: wanted {self._options.platform}, actual: {document.platform}"
            )
        return raw, document

    def _suits(self, document: ImageDocument) -> bool:
        wanted = self._options.platform
        return wanted is None or wanted.rank(document.platform) is not None

    async def _attestations(
        self, top: RemoteManifest, subject: str, pins: Pins
    ) -> list[attestations.Attestation]:
        """What the index says of the image; an image is pulled though somebody's opinion of it is broken."""
        if top.media_type not in INDEX_TYPES:
            return []

        async def read(descriptor: Descriptor) -> bytes:
            if descriptor.media_type in MANIFEST_TYPES:
                return (await run_blocking(self._remote.manifest, descriptor.digest)).raw
            return await run_blocking(self._remote.read_blob, Digest(descriptor.digest), descriptor.size)

        try:
            return await attestations.fetch(self._store, top.raw, subject, read, pins)
        except (InvalidDocument, SizeMismatch, RegistryError, NotSupported) as e:
            self._say(f"Attestations are not kept: {e}")
            return []

    # -- layers ---------------------------------------------------------------------------------

    async def _layers(self, manifest: Manifest, document: ImageDocument, pins: Pins) -> list[ImageLayer]:
        layers: list[ImageLayer] = []
        missing: dict[Digest, Descriptor] = {}
        for diff_id, descriptor in zip(document.diff_ids, manifest.layers, strict=True):
            digest = Digest(descriptor.digest)
            pins.layer(diff_id)
            pins.blob(digest)
            if not self._store.layers.has(diff_id) and diff_id not in missing:
                missing[diff_id] = descriptor
        for diff_id, descriptor in zip(document.diff_ids, manifest.layers, strict=True):
            state = "Pulling fs layer" if diff_id in missing else "Already exists"
            self._say(state, short_id(descriptor.digest), ProgressDetail())
        try:
            async with asyncio.TaskGroup() as tasks:
                # The biggest first: it decides when all of them are done.
                for diff_id, descriptor in sorted(missing.items(), key=lambda each: -each[1].size):
                    tasks.create_task(self._layer(diff_id, descriptor))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        whereabouts = RemoteLayers(self._store.ledger)
        for diff_id, descriptor in zip(document.diff_ids, manifest.layers, strict=True):
            digest = Digest(descriptor.digest)
            kept = self._store.has_blob(digest)
            whereabouts.record(diff_id, self._reference, descriptor)
            layers.append(
                ImageLayer(
                    diff_id=diff_id,
                    blob=digest if kept else None,
                    media_type=descriptor.media_type if kept else "",
                )
            )
        return layers

    async def _layer(self, diff_id: Digest, descriptor: Descriptor) -> None:
        name = short_id(descriptor.digest)

        def say(status: str, detail: ProgressDetail | None) -> None:
            self._say(status, name, detail)

        settings = self._options.settings
        work = self._options.downloads.fetch(diff_id, descriptor, self._remote, settings, say)
        await _translated(self._reference, work)


async def _translated(reference: Reference, question: Awaitable[T]) -> T:
    """The answer, errors in the words that `docker pull` has for them."""
    try:
        return await question
    except (ManifestUnknown, RepositoryUnknown, AccessDenied) as e:
        if e.bare:
            raise
        name = reference.familiar_name
        if isinstance(e, ManifestUnknown):
            raise ManifestUnknown(f"manifest for {reference.familiar} not found: {e}") from e
        if isinstance(e, RepositoryUnknown):
            raise RepositoryUnknown(f"repository {name} not found: {e}") from e
        denied = f"pull access denied for {name}, repository does not exist or may require 'docker login'"
        raise AccessDenied(f"{denied}: {e}") from e
