"""Taking entries out of the build cache."""

from __future__ import annotations

import time
from collections import Counter

from corten.builder.cache import BuildCache, CacheEntry
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.types.system import BuildPruneReport
from corten.units import parse_time

_ACCEPTED = frozenset({"until", "id", "type", "unused-for"})


def prune(cache: BuildCache, filters: Filters, *, all: bool, keep_bytes: int) -> BuildPruneReport:
    """Forget entries, the longest unused first, until at most `keep_bytes` are left.

    Without `all`, entries whose layer an image has stay: they cost nothing. The space is that of layers
    which nothing holds any more; the store's garbage collection frees it.
    """
    filters.validate(_ACCEPTED)
    entries = cache.entries()
    held = cache.layers_of_images()
    left = sum({entry.diff_id: entry.size for entry in entries}.values())
    users = Counter(entry.diff_id for entry in entries)
    cutoff = _cutoff(filters)
    removed: list[CacheEntry] = []
    for entry in entries:
        if left <= keep_bytes and keep_bytes:
            break
        if (not all and entry.diff_id in held) or (cutoff and entry.used_ns > cutoff):
            continue
        if not filters.prefix("id", entry.key.removeprefix("sha256:")):
            continue
        removed.append(entry)
        users[entry.diff_id] -= 1
        if not users[entry.diff_id]:
            left -= entry.size
    cache.remove_all(entry.key for entry in removed)
    freed = {
        entry.diff_id: entry.size
        for entry in removed
        if not users[entry.diff_id] and entry.diff_id not in held
    }
    return BuildPruneReport(
        caches_deleted=[entry.key.removeprefix("sha256:") for entry in removed],
        space_reclaimed=sum(freed.values()),
    )


def _cutoff(filters: Filters) -> int:
    text = filters.one("until") or filters.one("unused-for")
    if text is None:
        return 0
    try:
        return parse_time(text, time.time_ns())
    except ValueError as error:
        raise InvalidParameter(f'"until" filter: {error}') from error
