"""How much of the build cache is kept: rules that are applied when it has grown.

Each rule takes out what its filters let through, the longest unused first, until no more is left than may
stay by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from corten.builder.cache import BuildCache
from corten.builder.cachemounts import MountEntry
from corten.builder.pruning import prune, selector_of, unused_since
from corten.filters import Filters
from corten.types.operations import CacheSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRule:
    """`filters`: as POST /build/prune has them. `all`: also what an image has."""

    space: CacheSpace
    filters: Filters = field(default_factory=Filters)
    all: bool = False


def keep(
    cache: BuildCache,
    rules: Sequence[KeepRule],
    mounts: Sequence[MountEntry] = (),
    free_bytes: Callable[[], int] = lambda: 0,
) -> set[str]:
    """Apply the rules; what was taken out, by id. The mounts among that are the caller's to remove.

    `free_bytes`: what is free on the disk.
    """
    removed: set[str] = set()
    for rule in rules:
        here = [mount for mount in mounts if mount.id not in removed]
        used = cache.size() + sum(mount.size for mount in here)
        kept = rule.space.kept(used, free_bytes() if rule.space.min_free else 0)
        if kept is not None and used <= kept:
            continue
        report = prune(
            cache,
            selector_of(rule.filters),
            all=rule.all,
            space=rule.space,
            unused_since_ns=unused_since(rule.filters),
            free_bytes=free_bytes,
            mounts=here,
        )
        removed.update(report.caches_deleted or ())
    return removed
