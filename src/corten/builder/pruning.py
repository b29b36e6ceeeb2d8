"""Taking entries out of the build cache."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from corten.builder.cache import BuildCache, CacheEntry
from corten.builder.cachemounts import MountEntry
from corten.builder.selectors import Fields, Selector
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.regex import InvalidRegex, Regex
from corten.types.operations import CacheSpace
from corten.types.system import BuildPruneReport
from corten.units import parse_time

LAYER, MOUNT = "regular", "exec.cachemount"
"""Types of records, as BuildKit calls them."""

AGES = ("until", "unused-for")
_FIELDS = ("id", "parent", "type", "description", "inuse", "shared", "private")
_LABELS = ("label", "label!")


def prune(
    cache: BuildCache,
    wanted: Selector,
    *,
    all: bool,
    space: CacheSpace,
    unused_since_ns: int | None = None,
    free_bytes: Callable[[], int] = lambda: 0,
    mounts: Sequence[MountEntry] = (),
) -> BuildPruneReport:
    """Forget entries, the longest unused first, until no more is left than `space` lets stay.

    `unused_since_ns`: those that have been used since then stay. Without `all`, entries whose layer an image
    has stay, too: they cost nothing, and never count. The space is that of layers which nothing holds any
    more; the store's garbage collection frees it. `free_bytes`: what is free on the disk. `mounts`: cache
    mounts, of which those named in the report are the caller's to remove; those in use stay.
    """
    entries = cache.entries()
    held = cache.layers_of_images()
    sizes = {entry.diff_id: entry.size for entry in entries if entry.diff_id not in held}
    left = sum(sizes.values()) + sum(each.size for each in mounts)
    kept = space.kept(left, free_bytes() if space.min_free else 0)
    users = Counter(entry.diff_id for entry in entries)
    removed: list[CacheEntry] = []
    gone: list[MountEntry] = []
    oldest_first: list[CacheEntry | MountEntry] = [*entries, *mounts]
    oldest_first.sort(key=lambda each: each.used_ns)
    for entry in oldest_first:
        if kept is not None and left <= kept:
            break
        if unused_since_ns is not None and entry.used_ns > unused_since_ns:
            continue
        if not wanted(fields_of(entry, held)):
            continue
        if isinstance(entry, MountEntry):
            if not entry.in_use:
                gone.append(entry)
                left -= entry.size
            continue
        if not all and entry.diff_id in held:
            continue
        removed.append(entry)
        users[entry.diff_id] -= 1
        if not users[entry.diff_id]:
            left -= sizes.get(entry.diff_id, 0)
    cache.remove_all(key for entry in removed for key in (entry.key, *entry.others))
    freed = {entry.diff_id: sizes.get(entry.diff_id, 0) for entry in removed if not users[entry.diff_id]}
    return BuildPruneReport(
        caches_deleted=[
            *(entry.key.removeprefix("sha256:") for entry in removed),
            *(each.id for each in gone),
        ],
        space_reclaimed=sum(freed.values()) + sum(each.size for each in gone),
    )


def fields_of(entry: CacheEntry | MountEntry, held: Collection[str]) -> Fields:
    """What filters see of an entry; what is yes or no is "true" or is not there. `held`: layers of images.

    Source: moby/buildkit, cache/manager.go (names).
    """
    is_mount = isinstance(entry, MountEntry)
    shared = isinstance(entry, CacheEntry) and entry.diff_id in held
    facts = {
        "inuse": isinstance(entry, MountEntry) and entry.in_use,
        "mutable": is_mount,
        "immutable": not is_mount,
        "shared": shared,
        "private": not shared,
    }
    texts = {
        "id": entry.id if isinstance(entry, MountEntry) else entry.key.removeprefix("sha256:"),
        "description": entry.description,
        "type": MOUNT if is_mount else LAYER,
    }
    return lambda name: texts.get(name) or ("true" if facts.get(name) else None)


def selector_of(filters: Filters) -> Selector:
    """The filters of the Engine API, but for those by age. Raises InvalidParameter, InvalidFilter.

    A field without a value has to be there; an id is a regular expression, other values are whole.
    """
    filters.validate((*_FIELDS, *AGES, *_LABELS))
    if filters.values_of("label"):  # `docker system prune --filter label=...`: the cache has none
        return lambda fields: False
    wanted = [_field(name, filters.values_of(name)) for name in _FIELDS if name in filters]
    return lambda fields: all(each(fields) for each in wanted)


def _field(name: str, values: Sequence[str]) -> Selector:
    if not values:
        return lambda fields: fields(name) is not None
    value = _only(values)
    if name != "id":
        return lambda fields: fields(name) == value
    try:
        expression = Regex(value)
    except InvalidRegex as error:
        raise InvalidParameter(f"filters: {error}") from error
    return lambda fields: expression.found_in(fields(name) or "")


def unused_since(filters: Filters) -> int | None:
    """The moment that filters by age name, in ns since 1970; None without any. Raises InvalidParameter."""
    if all(filters.values_of(name) for name in AGES):
        raise InvalidParameter('conflicting filters: "until" and "unused-for"')
    name = next((name for name in AGES if filters.values_of(name)), None)
    if name is None:
        return None
    try:
        return parse_time(_only(filters.values_of(name)), time.time_ns())
    except ValueError as error:
        raise InvalidParameter(
            f"\"{name}\" filter expects a duration (e.g., '24h') or a timestamp: {error}"
        ) from error


def _only(values: Sequence[str]) -> str:
    if len(values) > 1:
        raise InvalidParameter("filters expect only one value")
    return values[0]
