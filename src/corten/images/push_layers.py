"""Bringing one layer into a registry's repository, by the cheapest way there is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from corten.digest import Digest
from corten.images.blocking import run_to_end
from corten.images.catalogue import ImageCatalogue
from corten.images.image import ImageLayer
from corten.images.layer_blobs import LayerBlob, LayerForm, blob_in_form, compressed_blob, kept_blob
from corten.images.remote_layers import RemoteLayer, RemoteLayers
from corten.images.transfer import TransferSettings, Turns, retried
from corten.oci.image import Descriptor
from corten.reference import Reference
from corten.registry.client import FileBody, PushTarget
from corten.types.progress import ProgressDetail

T = TypeVar("T")
Say = Callable[[str, ProgressDetail], None]

_MAX_MOUNT_SOURCES = 3
_REPORT_EVERY = 1 << 20


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

    async def push_in_form(self, layer: ImageLayer, form: LayerForm, say: Say) -> Descriptor:
        """As `push`, in a form of the caller's choice."""
        async with self._turns, blob_in_form(self._store, layer, form) as made:
            if await self._ask(self._target.has_blob, Digest(made.descriptor.digest)):
                say("Layer already exists", ProgressDetail())
                return made.descriptor
            return await self._upload(made, say)

    async def _push(self, layer: ImageLayer, known: Descriptor | None, say: Say) -> Descriptor:
        kept = kept_blob(self._store, layer, known)
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
        async with compressed_blob(self._store, layer) as made:
            if made.descriptor not in candidates and await self._ask(
                self._target.has_blob, Digest(made.descriptor.digest)
            ):
                say("Layer already exists", ProgressDetail())
                return made.descriptor
            return await self._upload(made, say)

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

    async def _upload(self, content: LayerBlob, say: Say) -> Descriptor:
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
    kept: LayerBlob | None,
    remembered: list[RemoteLayer],
    repository: Reference,
) -> list[Descriptor]:
    """What the layer may be called there, the likeliest first.

    What other registries have is left out: where the manifest or a kept blob fixes the name, nothing else
    would do.
    """
    found = [known] if known is not None else []
    if kept is not None:
        return (
            found
            if known is not None and known.digest == kept.descriptor.digest
            else [*found, kept.descriptor]
        )
    for place in remembered:
        same = any(place.descriptor.digest == each.digest for each in found)
        if place.repository.domain == repository.domain and not same:
            found.append(place.descriptor)
    return found
