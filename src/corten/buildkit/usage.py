"""The build cache as BuildKit's clients see it: `buildx du`, `buildx prune`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from corten.builder.builder import Builder
from corten.builder.cache import CacheEntry
from corten.builder.pruning import prune
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.proto.control_pb2 import PruneRequest, UsageRecord
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.images import ImageStore
from corten.units import SECOND_NS

_TYPE = "regular"


class Usage:
    """What the cache holds, and taking it out. Event loop's thread only."""

    def __init__(self, builder: Builder, store: ImageStore, contexts: KeptContexts) -> None:
        self._contexts = contexts
        self._cache = builder.cache
        self._store = store

    def records(self, filters: Sequence[str]) -> list[UsageRecord]:
        """All entries that the filters let through. Raises InvalidParameter."""
        shared = self._cache.layers_of_images()
        wanted = _Wanted(filters)
        return [_record(entry, shared) for entry in self._cache.entries() if wanted.lets(entry)]

    def prune(self, request: PruneRequest) -> list[UsageRecord]:
        """Take entries out, the longest unused first; those that were. Raises InvalidParameter."""
        ids = _Wanted(request.filter).ids
        shared = self._cache.layers_of_images()
        before = {entry.key: entry for entry in self._cache.entries()}
        values = {"id": ids} if ids else {}
        if request.keep_duration:
            values["until"] = [f"{request.keep_duration // SECOND_NS}s"]
        report = prune(
            self._cache, Filters(values), all=request.all, keep_bytes=self._kept_bytes(request, before)
        )
        self._store.collector.collect()
        if request.all:
            self._contexts.forget_all()
        return [_record(before[f"sha256:{key}"], shared) for key in report.caches_deleted or ()]

    def _kept_bytes(self, request: PruneRequest, entries: dict[str, CacheEntry]) -> int:
        """How much may stay; 0 = nothing need."""
        kept = max(request.reserved_space, request.max_used_space)
        if request.min_free_space:
            disk = os.statvfs(self._store.root)
            missing = max(0, request.min_free_space - disk.f_bavail * disk.f_frsize)
            used = sum({entry.diff_id: entry.size for entry in entries.values()}.values())
            kept = max(request.reserved_space, min(kept or used, used - missing), 1)
        return kept


class _Wanted:
    """Filters of containerd's form, of which records have the fields `id` and `type`."""

    def __init__(self, filters: Sequence[str]) -> None:
        self.ids: list[str] = []
        self._types: list[str] = []
        for text in filters:
            for part in filter(None, text.split(",")):
                name, separator, value = part.replace("~=", "==").partition("==")
                if not separator or name not in ("id", "type"):
                    raise InvalidParameter(f"invalid filter {part!r}: only id and type can be filtered by")
                (self.ids if name == "id" else self._types).append(value)

    def lets(self, entry: CacheEntry) -> bool:
        """Whether the entry is meant."""
        key = entry.key.removeprefix("sha256:")
        wanted = not self.ids or any(key.startswith(each) for each in self.ids)
        return wanted and (not self._types or _TYPE in self._types)


def _record(entry: CacheEntry, shared: set[str]) -> UsageRecord:
    return UsageRecord(
        id=entry.key.removeprefix("sha256:"),
        size=entry.size,
        created_at=stamp(entry.created_ns),
        last_used_at=stamp(entry.used_ns),
        usage_count=entry.uses,
        description=entry.description,
        record_type=_TYPE,
        shared=entry.diff_id in shared,
    )


def stamp(moment_ns: int) -> Timestamp:
    """A time as messages have it."""
    found = Timestamp()
    found.FromNanoseconds(moment_ns)
    return found
