"""Volumes as cache mounts of builds: `corten.builder.cachemounts.OpenVolume`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corten.engine.containers.context import Context
from corten.errors import Forbidden, NotFound

LABEL = "corten.build-cache"


class CacheVolumes:
    """Those that have the label `corten.build-cache`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[tuple[str, bool]]:
        """See OpenVolume."""
        manager = self._context.volume_manager
        made = False
        try:
            volume = await manager.get(name)
        except NotFound:
            volume = await manager.create(name, labels={LABEL: ""})
            made = True
        if LABEL not in volume.labels:
            raise Forbidden(
                f"volume {name} is no build cache: make it with `corten volume create --label {LABEL} {name}`"
            )
        async with manager.held(volume, f"build-{secrets.token_hex(8)}") as path:
            yield path, made
