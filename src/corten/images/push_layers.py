"""Bringing one layer into a registry's repository, by the cheapest way there is."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from corten.digest import Digest
from corten.images.blocking import run_to_end
from corten.images.catalogue import ImageCatalogue
from corten.images.image import ImageLayer
from corten.images.remote_layers import RemoteLayer, RemoteLayers
from corten.images.transfer import TransferSettings, Turns, retried
from corten.oci.image import DOCKER_LAYER, DOCKER_LAYER_GZIP, OCI_LAYER, Descriptor
from corten.reference import Reference
from corten.registry.client import FileBody, PushTarget
from corten.snapshots.workers import Job
from corten.types.progress import ProgressDetail

T = TypeVar("T")
Say = Callable[[str, ProgressDetail], None]

_PLAIN = (OCI_LAYER, DOCKER_LAYER)
_MAX_MOUNT_SOURCES = 3
_REPORT_EVERY = 1 << 20


@dataclass(frozen=True, slots=True)
class _Content:
    """A layer's bytes on this machine."""

    descriptor: Descriptor
    path: str


class LayerPusher:
    """Pushes layers to one repository. Event loop's thread, several at once."""

    def __init__(
        self,
        store: ImageCatalogue,
        repository: Reference,
        target: PushTarget,
        settings: TransferSettings,
        turns: Turns,
    ) -> None:
        self._store = store
        self._repository = repository
        self._target = target
        self._settings = settings
        self._turns = turns
        self._whereabouts = RemoteLayers(store.ledger)

    async def push(self, layer: ImageLayer, known: Descriptor | None, say: Say) -> Descriptor:
        """Bring the layer there; how it is called there. known: as the image's manifest calls it."""
        if self._turns.busy:
            say("Waiting", ProgressDetail())
        async with self._turns:
            descriptor = await self._push(layer, known, say)
        self._whereabouts.record(layer.diff_id, self._repository, descriptor)
        return descriptor

    async def _push(self, layer: ImageLayer, known: Descriptor | None, say: Say) -> Descriptor:
        kept = self._kept(layer, known)
        remembered = self._whereabouts.of(layer.diff_id)
        candidates = _candidates(known, kept, remembered, self._repository)
        for descriptor in candidates:
            if await self._ask(self._target.has_blob, Digest(descriptor.digest)):
                say("Layer already exists", ProgressDetail())
                return descriptor
        for place in self._mount_sources(candidates, remembered):
            digest = Digest(place.descriptor.digest)
            if await self._ask(self._target.mount, digest, place.repository):
                say(f"Mounted from {place.repository.path}", ProgressDetail())
                return place.descriptor
        if kept is not None:
            return await self._upload(kept, say)
        with self._spool() as path:
            made = await self._compress(layer, path)
            if made.descriptor not in candidates and await self._ask(
                self._target.has_blob, Digest(made.descriptor.digest)
            ):
                say("Layer already exists", ProgressDetail())
                return made.descriptor
            return await self._upload(made, say)

    def _kept(self, layer: ImageLayer, known: Descriptor | None) -> _Content | None:
        """The blob that is kept, if it may travel as it is: a plain tar only where the manifest has it."""
        if layer.blob is None or not self._store.blobs.has(layer.blob):
            return None
        wanted = known is not None and known.digest == layer.blob
        if not wanted and layer.media_type in _PLAIN:
            return None
        descriptor = Descriptor(
            media_type=layer.media_type, digest=layer.blob, size=self._store.blobs.size(layer.blob)
        )
        return _Content(descriptor, self._store.blobs.path(layer.blob))

    def _mount_sources(
        self, candidates: list[Descriptor], remembered: list[RemoteLayer]
    ) -> list[RemoteLayer]:
        digests = {descriptor.digest for descriptor in candidates}
        places = [
            place
            for place in remembered
            if place.repository.domain == self._repository.domain
            and place.repository.path != self._repository.path
            and place.descriptor.digest in digests
        ]
        return places[:_MAX_MOUNT_SOURCES]

    async def _ask(self, question: Callable[..., T], *arguments: object) -> T:
        async def once() -> T:
            return await run_to_end(self._target.abort, question, *arguments)

        return await retried(self._settings, lambda _: None, once)

    # -- content --------------------------------------------------------------------------------

    @contextmanager
    def _spool(self) -> Iterator[str]:
        """A file in <root>/tmp, gone in the end."""
        path = os.path.join(self._store.tmp, f"push-{secrets.token_hex(8)}")
        try:
            yield path
        finally:
            if os.path.exists(path):
                os.unlink(path)

    async def _compress(self, layer: ImageLayer, path: str) -> _Content:
        source = self._store.layers.source(layer.diff_id)
        if layer.blob is not None and layer.media_type in _PLAIN and self._store.blobs.has(layer.blob):
            source = self._store.blobs.path(layer.blob)
        jobs: list[Job] = []

        def stop() -> None:
            for job in jobs:
                job.kill()

        def work() -> _Content:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                digest, length = self._store.layers.compress(source, layer.diff_id, fd, jobs.append)
            finally:
                os.close(fd)
            descriptor = Descriptor(media_type=DOCKER_LAYER_GZIP, digest=digest, size=length)
            return _Content(descriptor, path)

        return await run_to_end(stop, work)

    async def _upload(self, content: _Content, say: Say) -> Descriptor:
        total = content.descriptor.size
        reporter = _Reporter(total, say)

        def work() -> None:
            fd = os.open(content.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                body = FileBody(fd, 0, total, reporter.sent)
                self._target.upload(Digest(content.descriptor.digest), body)
            finally:
                os.close(fd)

        def again() -> Awaitable[None]:
            return run_to_end(self._target.abort, work)

        await retried(self._settings, lambda text: say(text, ProgressDetail()), again)
        say("Pushed", ProgressDetail())
        return content.descriptor


class _Reporter:
    """Tells how much of a layer has been sent, from the sending thread, not too often."""

    def __init__(self, total: int, say: Say) -> None:
        self._loop = asyncio.get_running_loop()
        self._total = total
        self._say = say
        self._told = -_REPORT_EVERY

    def sent(self, count: int) -> None:
        """`count` bytes are under way."""
        if count - self._told < _REPORT_EVERY and count < self._total:
            return
        self._told = count
        detail = ProgressDetail(current=count, total=self._total)
        self._loop.call_soon_threadsafe(self._say, "Pushing", detail)


def _candidates(
    known: Descriptor | None,
    kept: _Content | None,
    remembered: list[RemoteLayer],
    repository: Reference,
) -> list[Descriptor]:
    """What the layer may be called there, the likeliest first.

    What other registries have is left out: where the manifest or a kept blob fixes the name, nothing else
    would do.
    """
    if kept is not None:
        return [kept.descriptor]
    found = [known] if known is not None else []
    for place in remembered:
        same = any(place.descriptor.digest == each.digest for each in found)
        if place.repository.domain == repository.domain and not same:
            found.append(place.descriptor)
    return found
