"""Taking entries out of the build cache."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from corten.builder.cache import BuildCache, CacheEntry
from corten.builder.cachemounts import MountEntry
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.types.system import BuildPruneReport
from corten.units import parse_time

_ACCEPTED = frozenset({"until", "id", "type", "unused-for", "label", "label!"})


LAYER, MOUNT = "regular", "exec.cachemount"
"""Types of records, as BuildKit calls them."""


def prune(
    cache: BuildCache,
    filters: Filters,
    *,
    all: bool,
    keep_bytes: int,
    mounts: Sequence[MountEntry] = (),
) -> BuildPruneReport:
    """Forget entries, the longest unused first, until at most `keep_bytes` are left.

    Without `all`, entries whose layer an image has stay: they cost nothing. The space is that of layers
    which nothing holds any more; the store's garbage collection frees it. `mounts`: cache mounts, of which
    those named in the report are the caller's to remove; those in use stay.
    """
    filters.validate(_ACCEPTED)
    if filters.values_of("label"):  # `docker system prune --filter label=...`: the cache has none
        return BuildPruneReport(caches_deleted=[], space_reclaimed=0)
    entries = cache.entries()
    held = cache.layers_of_images()
    left = sum({entry.diff_id: entry.size for entry in entries}.values()) + sum(each.size for each in mounts)
    users = Counter(entry.diff_id for entry in entries)
    cutoff = _cutoff(filters)
    removed: list[CacheEntry] = []
    gone: list[MountEntry] = []
    oldest_first: list[CacheEntry | MountEntry] = [*entries, *mounts]
    oldest_first.sort(key=lambda each: each.used_ns)
    for entry in oldest_first:
        if left <= keep_bytes and keep_bytes:
            break
        if cutoff and entry.used_ns > cutoff:
            continue
        if isinstance(entry, MountEntry):
            wanted = filters.prefix("id", entry.id) and filters.exact("type", MOUNT)
            if wanted and not entry.in_use:
                gone.append(entry)
                left -= entry.size
            continue
        if not all and entry.diff_id in held:
            continue
        if not (filters.prefix("id", entry.key.removeprefix("sha256:")) and filters.exact("type", LAYER)):
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
        caches_deleted=[
            *(entry.key.removeprefix("sha256:") for entry in removed),
            *(each.id for each in gone),
        ],
        space_reclaimed=sum(freed.values()) + sum(each.size for each in gone),
    )


def _cutoff(filters: Filters) -> int:
    texts = filters.values_of("until") or filters.values_of("unused-for")
    if not texts:
        return 0
    if len(texts) > 1:
        raise InvalidParameter("filters expect only one value")
    try:
        return parse_time(texts[0], time.time_ns())
    except ValueError as error:
        raise InvalidParameter(
            f"\"until\" filter expects a duration (e.g., '24h') or a timestamp: {error}"
        ) from error
