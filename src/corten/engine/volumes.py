"""The volumes service: the API's Protocol over the store and what is mounted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from corten.engine.containers.describe import stored_bytes
from corten.engine.events import EventBus
from corten.engine.prune import PruneFilter
from corten.engine.volume_manager import VolumeManager
from corten.engine.volume_transfer import VolumeTransfer
from corten.errors import Conflict, InvalidParameter, NotSwarmManager, Unavailable
from corten.filters import Filters
from corten.types import volume as documents
from corten.types.volume import (
    VolumeCreateRequest,
    VolumeList,
    VolumesPruneReport,
    VolumeUpdateRequest,
    VolumeUsage,
)
from corten.volumes.store import NoSuchVolume, Volume, VolumeStore

_LISTED_BY = frozenset({"dangling", "driver", "label", "name"})
_PRUNED_BY = frozenset({"all", "label", "label!"})


class VolumeService:
    """Implements `corten.api.routes.volumes.Volumes`."""

    def __init__(
        self, store: VolumeStore, manager: VolumeManager, events: EventBus, transfer: VolumeTransfer
    ) -> None:
        self._store = store
        self._manager = manager
        self._events = events
        self._transfer = transfer

    async def list(self, filters: Filters) -> VolumeList:
        """See Volumes."""
        filters.validate(_LISTED_BY)
        dangling = filters.boolean("dangling", default=False) if "dangling" in filters else None
        volumes = self._store.all()
        elsewhere, warnings = await self._manager.list_elsewhere()
        found = [
            document(volume)
            for volume in sorted([*volumes, *elsewhere], key=lambda each: each.name)
            if filters.match("name", volume.name)
            and filters.exact("driver", volume.driver)
            and filters.match_labels("label", volume.labels)
            and (dangling is None or dangling is not bool(self._store.rows.users(volume.name)))
        ]
        return VolumeList(volumes=found, warnings=warnings or None)

    async def inspect(self, name: str) -> documents.Volume:
        """See Volumes."""
        return document(await self._manager.get(name))

    async def create(self, request: VolumeCreateRequest) -> documents.Volume:
        """See Volumes."""
        if request.cluster_volume_spec is not None:
            raise NotSwarmManager
        volume = await self._manager.create(
            request.name, driver=request.driver, options=request.driver_opts, labels=request.labels
        )
        return document(volume)

    async def remove(self, name: str, *, force: bool) -> None:
        """See Volumes."""
        try:
            await self._manager.remove(name)
        except NoSuchVolume:
            if not force:
                raise

    async def update(self, name: str, request: VolumeUpdateRequest) -> None:
        """See Volumes."""
        if request.driver_opts is None:
            raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")
        others = sorted(request.driver_opts.keys() - {"size"})
        if others or not request.driver_opts:
            raise InvalidParameter(f"update {name}: only the option size can be changed")
        await self._manager.resize(name, request.driver_opts["size"])

    async def prune(self, filters: Filters, *, named: bool) -> VolumesPruneReport:
        """See Volumes."""
        filters.validate(_PRUNED_BY)
        named = filters.boolean("all", default=named)
        wanted = PruneFilter(filters, "all")
        deleted, reclaimed = [], 0
        for volume in self._store.all():
            if not self._store.is_local(volume) or self._store.rows.users(volume.name):
                continue
            if not (named or volume.anonymous) or not wanted.matches(volume.created_ns, volume.labels):
                continue
            size = await self.size(volume)
            try:
                await self._manager.remove(volume.name)
            except (Conflict, NoSuchVolume):
                continue
            deleted.append(volume.name)
            reclaimed += max(0, size)
        self._events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
        return VolumesPruneReport(volumes_deleted=deleted, space_reclaimed=reclaimed)

    async def export(self, name: str, *, pause: bool) -> AsyncIterator[bytes]:
        """See Volumes."""
        return await self._transfer.export(name, pause=pause)

    async def import_tar(self, name: str, body: AsyncIterator[bytes]) -> documents.Volume:
        """See Volumes."""
        return document(await self._transfer.import_tar(name, body))

    async def clone(self, name: str, to: str, *, pause: bool) -> documents.Volume:
        """See Volumes."""
        return document(await self._transfer.clone(name, to, pause=pause))

    async def rename(self, name: str, to: str) -> None:
        """See Volumes."""
        await self._transfer.rename(name, to)

    async def usage(self) -> Sequence[documents.Volume]:
        """All volumes with their sizes and how many containers have them, for `df`."""
        found = []
        for volume in self._store.all():
            entry = document(volume)
            users = len(self._store.rows.users(volume.name))
            entry.usage_data = VolumeUsage(ref_count=users, size=await self.size(volume))
            found.append(entry)
        return found

    async def size(self, volume: Volume) -> int:
        """Bytes in it; -1 if that is not ours to count (plugins, and what is mounted from elsewhere).

        What is in an image or encrypted counts as it is on the disk: it need not be mounted for that.
        """
        if not self._store.is_local(volume):
            return -1
        counted = self._store.local.counted(volume)
        if counted is not None:
            return counted
        stored = self._store.local.stored(volume)
        return await asyncio.to_thread(stored_bytes, stored) if stored else -1


def document(volume: Volume) -> documents.Volume:
    """As the API shows it."""
    return documents.Volume(
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(volume.created_ns // 1_000_000_000)),
        driver=volume.driver,
        labels=dict(sorted(volume.labels.items())) or None,
        mountpoint=volume.mountpoint,
        name=volume.name,
        options=dict(sorted(volume.options.items())) or None,
        scope=volume.scope,
        status=dict(volume.status) or None,
    )
