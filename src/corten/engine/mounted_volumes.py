"""Volumes that have to be mounted while somebody uses them: at the first use, until the last has ended.

Who uses them need not be remembered: the ledger says which containers run. So after a crash `adopt` and
`sweep` find out what is to stay mounted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corten.engine.tasks import Background
from corten.errors import Conflict, CortenError
from corten.volumes.store import NoSuchVolume, Volume, VolumeStore

log = logging.getLogger(__name__)


class _Use:
    """holders: container ids, or words for what the engine itself does with it. path: "" = not mounted."""

    __slots__ = ("holders", "lock", "path")

    def __init__(self) -> None:
        self.holders: set[str] = set()
        self.path = ""
        self.lock = asyncio.Lock()


class MountedVolumes:
    """Belongs to the event loop's thread; mounting itself happens in others."""

    def __init__(self, store: VolumeStore, background: Background) -> None:
        self._store = store
        self._background = background
        self._uses: dict[str, _Use] = {}

    async def hold(self, volume: Volume, holder: str) -> str:
        """Mount it unless it is; returns its directory. Raises what the driver raises, holding nothing."""
        if not self._store.needs_mount(volume):
            return volume.mountpoint
        use = self._uses.setdefault(volume.name, _Use())
        use.holders.add(holder)
        async with use.lock:
            if not use.path:
                try:
                    use.path = await asyncio.to_thread(self._store.mount, volume)
                except BaseException:
                    use.holders.discard(holder)
                    raise
            return use.path

    def release(self, name: str, holder: str) -> None:
        """`holder` is done with it; harmless if it held nothing. Unmounts in the background."""
        use = self._uses.get(name)
        if use is None or holder not in use.holders:
            return
        use.holders.discard(holder)
        if not use.holders:
            self._background.start(self._unmount(name, use), "unmount volume")

    async def settle(self, name: str) -> None:
        """Wait until an unmounting that is on its way has happened."""
        use = self._uses.get(name)
        if use is not None and not use.holders:
            await self._unmount(name, use)

    async def _unmount(self, name: str, use: _Use) -> None:
        async with use.lock:
            if use.holders or not use.path:
                return
            use.path = ""
            try:
                await asyncio.to_thread(self._store.unmount, self._store.get(name))
            except NoSuchVolume:
                return  # removed, with its mount
            except (CortenError, OSError) as e:
                log.warning("volume not unmounted", extra={"volume": name, "reason": str(e)})

    @asynccontextmanager
    async def held(self, volume: Volume, holder: str) -> AsyncIterator[str]:
        """Mounted for the length of a block."""
        path = await self.hold(volume, holder)
        try:
            yield path
        finally:
            self.release(volume.name, holder)

    async def remove(self, name: str) -> None:
        """Delete a volume and its data. Raises NoSuchVolume, Conflict while somebody uses it."""
        volume = self._store.get(name)
        self._store.check_unused(name)
        use = self._uses.get(name)
        if use is not None:
            if use.holders:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(sorted(use.holders))}]")
            await self._unmount(name, use)
            self._store.check_unused(name)  # time has passed
            self._uses.pop(name, None)
        if self._store.is_local(volume):
            self._store.remove(name)
        else:
            await self._remove_elsewhere(volume)

    async def _remove_elsewhere(self, volume: Volume) -> None:
        """The row goes first, so that nobody begins to use it while its plugin removes it."""
        driver = self._store.driver(volume.driver)
        self._store.drop_row(volume)
        try:
            await asyncio.to_thread(driver.remove, volume.name, volume.options)
        except BaseException:
            self._store.add_row(volume)
            raise
        self._store.announce("destroy", volume)

    def adopt(self, name: str, holder: str, path: str) -> None:
        """A container that an earlier engine started has it mounted at `path`."""
        volume = self._store.find(name)
        if volume is not None and self._store.needs_mount(volume):
            use = self._uses.setdefault(name, _Use())
            use.holders.add(holder)
            use.path = path

    def sweep(self) -> None:
        """Unmount what a crash has left mounted and nobody holds."""
        local = self._store.local
        for name in local.mounted():
            use = self._uses.get(name)
            if use is None or not use.holders:
                local.unmount(name, {})
