"""The build cache as BuildKit's clients see it: `buildx du`, `buildx prune`."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp

from corten.builder.builder import Builder
from corten.builder.cache import CacheEntry
from corten.builder.cachemounts import MountEntry
from corten.builder.pruning import LAYER, MOUNT, prune
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.proto.control_pb2 import PruneRequest, UsageRecord
from corten.buildkit.selectors import parse_selectors
from corten.filters import Filters
from corten.images import ImageStore
from corten.units import SECOND_NS


class Usage:
    """What the cache holds, and taking it out. Event loop's thread only."""

    def __init__(self, builder: Builder, store: ImageStore, contexts: KeptContexts) -> None:
        self._contexts = contexts
        self._cache = builder.cache
        self._mounts = builder.cache_mounts
        self._store = store

    async def records(self, filters: Sequence[str]) -> list[UsageRecord]:
        """All entries that the filters let through. Raises InvalidParameter."""
        wanted = parse_selectors(filters)
        mounts = await self._mounts.entries()
        shared = self._cache.layers_of_images()
        records = [
            *(_record(entry, shared) for entry in self._cache.entries()),
            *(_mount_record(mount) for mount in mounts),
        ]
        return [record for record in records if wanted(partial(_field, record))]

    async def prune(self, request: PruneRequest) -> list[UsageRecord]:
        """Take entries out, the longest unused first; those that were. Raises InvalidParameter."""
        wanted = parse_selectors(request.filter)
        mounts = await self._mounts.entries()
        shared = self._cache.layers_of_images()
        entries = self._cache.entries()
        before = {
            record.id: record
            for record in (
                *(_record(entry, shared) for entry in entries),
                *(_mount_record(mount) for mount in mounts),
            )
        }
        values: dict[str, Collection[str]] = {}
        if request.filter:
            values["id"] = [each.id for each in before.values() if wanted(partial(_field, each))]
            if not values["id"]:
                return []
        if request.keep_duration:
            values["until"] = [f"{request.keep_duration // SECOND_NS}s"]
        report = prune(
            self._cache,
            Filters(values),
            all=request.all,
            keep_bytes=self._kept_bytes(request, entries, mounts),
            mounts=mounts,
        )
        self._mounts.remove({each.id for each in mounts}.intersection(report.caches_deleted or ()))
        self._store.collector.collect()
        if request.all:
            self._contexts.forget_all()
        return [before[identifier] for identifier in report.caches_deleted or ()]

    def _kept_bytes(
        self, request: PruneRequest, entries: Sequence[CacheEntry], mounts: Sequence[MountEntry]
    ) -> int:
        """How much may stay; 0 = nothing need."""
        kept = max(request.reserved_space, request.max_used_space)
        if request.min_free_space:
            disk = os.statvfs(self._store.root)
            missing = max(0, request.min_free_space - disk.f_bavail * disk.f_frsize)
            used = sum({entry.diff_id: entry.size for entry in entries}.values())
            used += sum(mount.size for mount in mounts)
            kept = max(request.reserved_space, min(kept or used, used - missing), 1)
        return kept


def _field(record: UsageRecord, name: str) -> str | None:
    """What filters see of a record; those that are yes or no are "" or are not there.

    Source: moby/buildkit, cache/manager.go (adaptUsageInfo).
    """
    texts = {"id": record.id, "description": record.description, "type": record.record_type}
    if name in texts:
        return texts[name] or None
    facts = {
        "inuse": record.in_use,
        "mutable": record.mutable,
        "immutable": not record.mutable,
        "shared": record.shared,
        "private": not record.shared,
    }
    return "" if facts.get(name) else None


def _record(entry: CacheEntry, shared: set[str]) -> UsageRecord:
    return UsageRecord(
        id=entry.key.removeprefix("sha256:"),
        size=entry.size,
        created_at=stamp(entry.created_ns),
        last_used_at=stamp(entry.used_ns),
        usage_count=entry.uses,
        description=entry.description,
        record_type=LAYER,
        shared=entry.diff_id in shared,
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
