"""The builder as the API knows it, with what `df` tells of its cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection

from corten.builder.builder import Builder
from corten.builder.cache import BuildCache
from corten.builder.cachetransfer.archive import CacheArchives
from corten.builder.pruning import LAYER, MOUNT
from corten.engine.events import EventBus
from corten.filters import Filters
from corten.images import ImageStore
from corten.types.operations import BuildOptions, CacheSpace
from corten.types.progress import JSONMessage
from corten.types.system import BuildCacheItem, BuildPruneReport
from corten.units import format_time


class BuildService:
    """Implements `corten.api.routes.build.Builder`, and tells `df` of the cache."""

    def __init__(
        self,
        builder: Builder,
        cache: BuildCache,
        store: ImageStore,
        collect: Callable[[], None],
        events: EventBus,
    ) -> None:
        """collect: frees the layers that nothing holds any more."""
        self._events = events
        self._archives = CacheArchives(store, cache)
        self._builder = builder
        self._cache = cache
        self._collect = collect

    def build(self, options: BuildOptions, context: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        """See Builder."""
        return self._builder.build(options, context)

    async def output(self, token: str) -> AsyncIterator[bytes]:
        """See Builder."""
        return await self._builder.output(token)

    async def prune(self, filters: Filters, *, all: bool, space: CacheSpace) -> BuildPruneReport:
        """See Builder."""
        report = await self._builder.prune(filters, all=all, space=space)
        self._collect()
        self._events.publish("builder", "prune", "", {"reclaimed": str(report.space_reclaimed)})
        return report

    def export_cache(self, keys: Collection[str] | None) -> AsyncIterator[bytes]:
        """See Builder."""
        return self._archives.export(keys)

    async def import_cache(self, body: AsyncIterator[bytes]) -> int:
        """See Builder."""
        return await self._archives.load(body)

    async def usage(self) -> list[BuildCacheItem]:
        """The records of the build cache, the longest unused first; cache mounts after layers."""
        mounts = await self._builder.cache_mounts.entries()
        shared = self._cache.layers_of_images()
        layers = [
            BuildCacheItem(
                id=entry.key.removeprefix("sha256:"),
                type=LAYER,
                description=entry.description,
                in_use=False,
                shared=entry.diff_id in shared,
                size=entry.size,
                created_at=format_time(entry.created_ns),
                last_used_at=format_time(entry.used_ns),
                usage_count=entry.uses,
            )
            for entry in self._cache.entries()
        ]
        return layers + [
            BuildCacheItem(
                id=mount.id,
                type=MOUNT,
                description=mount.description,
                in_use=mount.in_use,
                shared=False,
                size=mount.size,
                created_at=format_time(mount.created_ns),
                last_used_at=format_time(mount.used_ns),
                usage_count=1,
            )
            for mount in mounts
        ]
