"""The build cache as BuildKit's clients see it: `buildx du`, `buildx prune`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from corten.builder.builder import Builder
from corten.builder.cache import CacheEntry
from corten.builder.cachemounts import MountEntry
from corten.builder.pruning import LAYER, MOUNT, fields_of
from corten.builder.selectors import parse_selectors
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.proto.control_pb2 import PruneRequest, UsageRecord
from corten.images import ImageStore
from corten.types.operations import CacheSpace


class Usage:
    """What the cache holds, and taking it out. Event loop's thread only."""

    def __init__(self, builder: Builder, store: ImageStore, contexts: KeptContexts) -> None:
        self._builder = builder
        self._contexts = contexts
        self._cache = builder.cache
        self._mounts = builder.cache_mounts
        self._store = store

    async def records(self, filters: Sequence[str]) -> list[UsageRecord]:
        """All entries that the filters let through. Raises InvalidParameter."""
        wanted = parse_selectors(filters)
        held = self._cache.layers_of_images()
        entries: list[CacheEntry | MountEntry] = [*self._cache.entries(), *await self._mounts.entries()]
        return [_record(each, held) for each in entries if wanted(fields_of(each, held))]

    async def prune(self, request: PruneRequest) -> list[UsageRecord]:
        """Take entries out, the longest unused first; those that were. Raises InvalidParameter."""
        wanted = parse_selectors(request.filter)
        before = {record.id: record for record in await self.records(())}
        report = await self._builder.prune_entries(
            wanted,
            all=request.all,
            space=CacheSpace(
                reserved=request.reserved_space,
                max_used=request.max_used_space,
                min_free=request.min_free_space,
            ),
            unused_since_ns=time.time_ns() - request.keep_duration if request.keep_duration else None,
        )
        self._store.collector.collect()
        if request.all and not any(request.filter):
            self._contexts.forget_all()
        return [before[each] for each in report.caches_deleted or () if each in before]


def _record(entry: CacheEntry | MountEntry, held: set[str]) -> UsageRecord:
    if isinstance(entry, MountEntry):
        return _mount_record(entry)
    return UsageRecord(
        id=entry.key.removeprefix("sha256:"),
        size=entry.size,
        created_at=stamp(entry.created_ns),
        last_used_at=stamp(entry.used_ns),
        usage_count=entry.uses,
        description=entry.description,
        record_type=LAYER,
        shared=entry.diff_id in held,
    )


def _mount_record(mount: MountEntry) -> UsageRecord:
    return UsageRecord(
        id=mount.id,
        size=mount.size,
        created_at=stamp(mount.created_ns),
        last_used_at=stamp(mount.used_ns),
        usage_count=1,
        description=mount.description,
        record_type=MOUNT,
        mutable=True,
        in_use=mount.in_use,
    )


def stamp(moment_ns: int) -> Timestamp:
    """A time as messages have it."""
    found = Timestamp()
    found.FromNanoseconds(moment_ns)
    return found
