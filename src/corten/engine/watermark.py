"""Making room before the disk is full: unused build cache and images go, oldest first, between two marks.

Off unless daemon.json's storage-opts say `corten.gc-high=PERCENT` (and `corten.gc-low=PERCENT`). Images of
containers, running or not, stay; so do those with the label `corten.keep`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from corten.errors import Conflict
from corten.filters import Filters
from corten.images.image import Image
from corten.images.removal import Remover
from corten.images.store import ImageStore
from corten.types.operations import CacheSpace
from corten.types.system import BuildPruneReport

log = logging.getLogger(__name__)

KEEP_LABEL = "corten.keep"
_INTERVAL_S = 60.0
_HUNDRED = 100


@dataclass(frozen=True, slots=True)
class Marks:
    """Percent of the file system: above `high` room is made until `low` is reached."""

    high: int
    low: int


PruneCache = Callable[..., Awaitable[BuildPruneReport]]


class Watermark:
    """Watches the file system of one engine's root."""

    def __init__(self, images: ImageStore, prune_cache: PruneCache, marks: Marks) -> None:
        self._images = images
        self._remover = Remover(images, images.collector)
        self._prune_cache = prune_cache
        self._marks = marks

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_S)
            await self.check()

    async def check(self) -> int:
        """Make room if there is too little; returns the bytes that will be free when all is deleted."""
        status = os.statvfs(self._images.root)
        size = status.f_blocks * status.f_frsize
        used = size - status.f_bavail * status.f_frsize
        if used * _HUNDRED <= size * self._marks.high:
            return 0
        wanted = used - size * self._marks.low // _HUNDRED
        freed = (await self._prune_cache(Filters({}), all=True, space=CacheSpace())).space_reclaimed
        await self._images.collector.disk.refresh()
        for image in self._oldest_first():
            if freed >= wanted:
                break
            freed += self._remove(image)
        log.warning("made room", extra={"wanted_bytes": wanted, "freed_bytes": freed})
        return freed

    def _oldest_first(self) -> list[Image]:
        unused = [
            image
            for image in self._images.all()
            if self._images.usage.container_using(image.id) is None
            and KEEP_LABEL not in (image.config.labels or {})
        ]
        return sorted(unused, key=lambda image: image.tagged_ns or image.stored_ns)

    def _remove(self, image: Image) -> int:
        before = self._images.collector.disk.total()
        if self._images.find(image.id) is not None:
            try:
                self._remover.remove(image.id, force=True, prune=True)
            except Conflict:
                return 0  # others are built on it
        return before - self._images.collector.disk.total()
