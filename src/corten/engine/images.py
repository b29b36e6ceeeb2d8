"""The images service: the API's Protocol over the store of images and the registry client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from time import perf_counter

from corten.engine.imagedifference import ImageDifference
from corten.engine.imageimport import import_from
from corten.engine.measures import Measures, timed
from corten.filters import Filters
from corten.images import attestations, documents
from corten.images.load import load
from corten.images.removal import Remover
from corten.images.save import save
from corten.images.store import ImageStore
from corten.platforms import Platform
from corten.types.image import (
    AttestationStatement,
    DeleteItem,
    HistoryItem,
    ImageInspect,
    ImagesPruneReport,
    ImageSummary,
)
from corten.types.operations import ImageListOptions, ImportOptions
from corten.types.pieces import Piece
from corten.types.progress import JSONMessage
from corten.types.system import AuthConfig


class ImageService:
    """Implements `corten.api.routes.images.Images`; what is not said here is said there."""

    def __init__(self, store: ImageStore, measures: Measures, *, mountpoint: str) -> None:
        """mountpoint: see ImageDifference."""
        self._store = store
        self._measures = measures
        self._difference = ImageDifference(store, mountpoint=mountpoint)
        self._remover = Remover(store, store.collector)

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        """See Images."""
        return documents.summaries(
            self._store,
            show_all=options.all,
            filters=options.filters,
            shared_size=options.shared_size,
            manifests=options.manifests,
        )

    async def inspect(self, ref: str, platform: Platform | None, *, manifests: bool) -> ImageInspect:
        """See Images."""
        return documents.inspect(self._store, ref, platform, manifests=manifests)

    async def history(self, ref: str, platform: Platform | None) -> Sequence[HistoryItem]:
        """See Images."""
        return documents.history(self._store, ref, platform)

    async def attestations(
        self, ref: str, platform: Platform | None, types: Sequence[str], *, contents: bool
    ) -> Sequence[AttestationStatement]:
        """See Images."""
        image = self._store.variant(ref, platform)
        return await attestations.statements(self._store, ref, image, types, contents=contents)

    async def tag(self, ref: str, target: str) -> None:
        """See Images."""
        self._store.tag(ref, target)

    async def remove(
        self, ref: str, *, force: bool, prune: bool, platforms: Sequence[Platform] = ()
    ) -> Sequence[DeleteItem]:
        """See Images."""
        began = perf_counter()
        if platforms:
            removed = self._remover.remove_platforms(ref, platforms, force=force, prune=prune)
        else:
            removed = self._remover.remove(ref, force=force, prune=prune)
        self._measures.remove_image.observe(perf_counter() - began)
        return removed

    def bootstrap(self, what: str, *, mirror: str) -> AsyncIterator[JSONMessage]:
        """See Images."""
        return self._store.bootstrap(what, mirror=mirror)

    async def prune(self, filters: Filters) -> ImagesPruneReport:
        """See Images."""
        await self._store.collector.disk.refresh()
        report = self._remover.prune(filters)
        self._store.on_event("prune", "", {"reclaimed": str(report.space_reclaimed)})
        return report

    def pull(
        self, reference: str, *, platform: str, auth: AuthConfig | None, all_tags: bool
    ) -> AsyncIterator[JSONMessage]:
        """See Images."""
        messages = self._store.pull(reference, platform=platform, auth=auth, all_tags=all_tags)
        return timed(messages, self._measures.pull)

    def push(
        self, reference: str, *, auth: AuthConfig | None, all_tags: bool, platform: Platform | None
    ) -> AsyncIterator[JSONMessage]:
        """See Images."""
        messages = self._store.push(reference, auth=auth, all_tags=all_tags, platform=platform)
        return timed(messages, self._measures.push)

    def load(
        self, body: AsyncIterator[bytes], *, quiet: bool, platforms: Sequence[Platform]
    ) -> AsyncIterator[JSONMessage]:
        """See Images."""
        return load(self._store, body, quiet=quiet, platforms=platforms)

    def import_(self, body: AsyncIterator[bytes], options: ImportOptions) -> AsyncIterator[JSONMessage]:
        """See Images."""
        return import_from(self._store, body, options)

    def save(self, refs: Sequence[str], platforms: Sequence[Platform]) -> AsyncIterator[Piece]:
        """See Images."""
        return save(self._store, refs, platforms)

    def changes(self, ref: str, since: str) -> AsyncIterator[bytes]:
        """See Images."""
        return self._difference.between(since, ref)
