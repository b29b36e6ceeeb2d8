"""`docker pull`: an image out of a registry.

::

    tag or digest ─► manifest (of this platform) ─► config ─► layers not here yet ─► image row, names
                                                                │ each: download ─► verify ─► unpack ─► verify

Nothing is visible before it is verified, and the image before all its layers are. The progress lines
are Docker's.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from corten.content import BlobWriter, SizeMismatch
from corten.digest import Digest, DigestMismatch, short_id
from corten.errors import InvalidParameter, NotFound
from corten.images.blocking import ProgressQueue, run_blocking, run_to_end, unpack_layer
from corten.images.catalogue import ImageCatalogue, Pins
from corten.images.image import ImageLayer
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
from corten.registry.client import BlobStream, RegistryTrust, RemoteManifest, RemoteRegistry
from corten.registry.client.errors import (
    AccessDenied,
    ManifestUnknown,
    RepositoryUnknown,
    Unreachable,
)
from corten.types.progress import JSONMessage, ProgressDetail
from corten.types.system import AuthConfig

_DOWNLOADS = 3  # daemon.json's max-concurrent-downloads
_ATTEMPTS = 5  # daemon.json's max-download-attempts
_MAX_INDEX_DEPTH = 4
_REPORT_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """How to pull. retry_delay_s: the first wait after a broken download, doubled each time."""

    platform: Platform | None = None
    auth: AuthConfig | None = None
    trust: RegistryTrust
    retry_delay_s: float = 5.0


async def pull(
    store: ImageCatalogue, reference: Reference, options: PullOptions, *, all_tags: bool = False
) -> AsyncIterator[JSONMessage]:
    """Pull an image, or all tags of a repository; yields Docker's progress lines.

    Raises NotFound (no such manifest, no access), RegistryError, InvalidDocument, DigestMismatch.
    """
    progress = ProgressQueue()

    async def work() -> None:
        if not all_tags:
            await _Pull(store, reference.with_default_tag(), options, progress).run()
            return
        remote = _remote(reference, options)
        for tag in await _translated(reference, run_blocking(remote.tags)):
            await _Pull(store, reference.with_tag(tag), options, progress).run()

    async with aclosing(progress.stream(work())) as lines:
        async for line in lines:
            yield line


T = TypeVar("T")


class _Pull:
    """One pull of one tag or digest."""

    def __init__(
        self, store: ImageCatalogue, reference: Reference, options: PullOptions, progress: ProgressQueue
    ) -> None:
        self._store = store
        self._reference = reference
        self._options = options
        self._progress = progress
        self._remote = _remote(reference, options)
        self._downloads = asyncio.Semaphore(_DOWNLOADS)

    async def run(self) -> None:
        reference = self._reference
        wanted = reference.digest or reference.tag or ""
        top = await _translated(reference, run_blocking(self._remote.manifest, wanted))
        self._say(f"Pulling from {reference.path}", wanted)
        chosen = await self._of_platform(top, 0)
        manifest = decode_manifest(chosen.raw)
        before = self._store.id_of_name(reference)
        with self._store.pins() as pins:
            # As in Docker: of an image that is here, whatever it is called, nothing is fetched.
            image = self._store.find(manifest.config.digest)
            if image is None or not self._suits(image.document):
                raw_config, document = await self._config(manifest)
                layers = await self._layers(manifest, document, pins)
                image = self._store.create(raw_config, layers, raw_manifest=chosen.raw)
            pinned = reference.with_digest(top.digest)
            names = [pinned] if reference.digest is not None else [pinned, reference]
            with self._store.ledger.transaction():
                for name in names:
                    self._store.point_name(name, image.id)
        self._say(f"Digest: {top.digest}")
        news = "Image is up to date" if before == image.id else "Downloaded newer image"
        self._say(f"Status: {news} for {reference.familiar}")
        self._store.event("pull", image.id, reference.familiar_name, actor=reference.familiar)

    def _say(self, status: str, layer: str = "", detail: ProgressDetail | None = None) -> None:
        self._progress.put(JSONMessage(status=status, id=layer, progress_detail=detail))

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
        raw = await _translated(
            self._reference, run_blocking(self._remote.read_blob, digest, MAX_CONFIG_BYTES)
        )
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
                for diff_id, descriptor in missing.items():
                    tasks.create_task(self._layer(diff_id, descriptor))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        for diff_id, descriptor in zip(document.diff_ids, manifest.layers, strict=True):
            digest = Digest(descriptor.digest)
            kept = self._store.has_blob(digest)
            layers.append(
                ImageLayer(
                    diff_id=diff_id,
                    blob=digest if kept else None,
                    media_type=descriptor.media_type if kept else "",
                )
            )
        return layers

    async def _layer(self, diff_id: Digest, descriptor: Descriptor) -> None:
        digest = Digest(descriptor.digest)
        name = short_id(digest)
        if not self._store.has_blob(digest):
            if self._downloads.locked():
                self._say("Waiting", name, ProgressDetail())
            async with self._downloads:
                try:
                    await self._download(digest, descriptor.size, name)
                finally:
                    # Also when cancelled a moment too late: what is on disk has a row.
                    if self._store.blobs.has(digest):
                        self._store.record_blob(digest)
        self._say("Verifying Checksum", name, ProgressDetail())
        self._say("Download complete", name, ProgressDetail())

        def report(read: int) -> None:
            self._say("Extracting", name, ProgressDetail(current=read, total=descriptor.size))

        fd = self._store.blobs.open(digest)
        try:
            layer = await unpack_layer(self._store.layers, fd, diff_id, report)
        except DigestMismatch as e:
            raise InvalidParameter(f"layer {name} does not match its diff id: {e}") from e
        finally:
            os.close(fd)
        self._store.layers.adopt(layer)
        self._say("Pull complete", name, ProgressDetail())

    async def _download(self, digest: Digest, size: int, name: str) -> None:
        loop = asyncio.get_running_loop()
        download = _Download(self._store, self._reference, self._options, digest, size)

        def report(current: int) -> None:
            detail = ProgressDetail(current=current, total=size)
            loop.call_soon_threadsafe(self._say, "Downloading", name, detail)

        delay_s = self._options.retry_delay_s
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    await _translated(self._reference, run_to_end(download.stop, download.run, report))
                    return
                except Unreachable:
                    if attempt == _ATTEMPTS:
                        raise
                    self._say(f"Retrying in {max(1, round(delay_s))} seconds", name)
                    await asyncio.sleep(delay_s)
                    delay_s *= 2
        finally:
            download.discard()


class _Download:
    """A blob on its way into the store, across several connections. `run` blocks; `stop` any thread."""

    def __init__(
        self, store: ImageCatalogue, reference: Reference, options: PullOptions, digest: Digest, size: int
    ) -> None:
        self._store = store
        self._remote = _remote(reference, options)
        self._digest = digest
        self._size = size
        self._writer: BlobWriter | None = None
        self._stream: BlobStream | None = None
        self._stopped = False
        self._running = threading.Lock()

    def run(self, report: Callable[[int], None]) -> None:
        """Get what is missing. Raises Unreachable (then `run` again goes on), DigestMismatch, ..."""
        with self._running:
            try:
                if self._stopped:
                    raise Unreachable("pull was cancelled")
                self._receive(report)
            except BaseException as e:
                if self._stopped or not isinstance(e, Unreachable):
                    self._drop_writer()
                raise

    def _receive(self, report: Callable[[int], None]) -> None:
        writer = self._writer or self._store.blobs.writer(self._digest, self._size)
        self._writer = writer
        stream = self._stream = self._remote.blob(self._digest, writer.written)
        reported = 0.0
        try:
            if stream.offset != writer.written:
                self._drop_writer()
                writer = self._writer = self._store.blobs.writer(self._digest, self._size)
            while not self._stopped and (data := stream.read()):
                writer.write(data)
                if (now := time.monotonic()) - reported >= _REPORT_EVERY_S:
                    reported = now
                    report(writer.written)
        finally:
            stream.close()
        if writer.written < self._size:
            raise Unreachable("unexpected EOF")
        writer.commit(durable=False)
        report(self._size)

    def stop(self) -> None:
        """Make `run`, in another thread, end soon."""
        self._stopped = True
        if self._stream is not None:
            self._stream.abort()

    def discard(self) -> None:
        """No more attempts: drop what is incomplete. A `run` that a cancelled caller left does it itself."""
        self._stopped = True
        if self._running.acquire(blocking=False):
            try:
                self._drop_writer()
            finally:
                self._running.release()

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _remote(reference: Reference, options: PullOptions) -> RemoteRegistry:
    return RemoteRegistry(reference, options.auth, options.trust)


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
