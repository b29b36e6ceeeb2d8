"""Making and removing volumes, and mounting them while somebody uses them: the store, as the engine calls it.

What blocks (plugins, mounting) happens in threads. A volume is mounted from its first use to its last.
Who uses them need not be remembered: the ledger says which containers run. So after a crash `adopt` and
`sweep` find out what is to stay mounted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from corten.engine.tasks import Background
from corten.errors import Conflict, CortenError, InternalError, NotSupported
from corten.plugins.discovery import NoSuchPlugin
from corten.volumes.plugin import PluginDriver, VolumePlugins
from corten.volumes.store import NoSuchVolume, Volume, VolumeStore
from corten.volumes.volume import LOCAL, NoSuchDriver

log = logging.getLogger(__name__)


class _Use:
    """holders: container ids, or words for what the engine itself does with it. path: "" = not mounted."""

    __slots__ = ("holders", "lock", "path")

    def __init__(self) -> None:
        self.holders: set[str] = set()
        self.path = ""
        self.lock = asyncio.Lock()


class VolumeManager:
    """Belongs to the event loop's thread."""

    def __init__(self, store: VolumeStore, background: Background, plugins: VolumePlugins) -> None:
        self._store = store
        self._background = background
        self._plugins = plugins
        self._uses: dict[str, _Use] = {}

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or give back the one of that name, also if only a plugin knows it; "" invents one.

        Raises InvalidParameter, NoSuchDriver, Conflict if another driver has it, PluginError.
        """
        if driver not in ("", LOCAL):
            await self._know_driver(driver, name)
        elif name and not driver and self._store.find(name) is None:
            found = await self._find_elsewhere(name)
            if found is not None:
                return found
        volume = self._store.plan(name, driver=driver, options=options, labels=labels)
        if self._store.find(volume.name) is not None:
            return volume
        if not self._store.is_local(volume):
            maker = self._store.driver(driver)
            try:
                await asyncio.to_thread(maker.create, volume)
            except CortenError as e:
                raise InternalError(f"create {volume.name}: {e}") from e
            if (rival := self._store.find(volume.name)) is not None:  # time has passed
                return rival
        return self._store.add(volume)

    async def _know_driver(self, driver: str, volume: str) -> None:
        """Find the plugin of that name, unless it is known. Raises NoSuchDriver."""
        if self._store.has_driver(driver):
            return
        try:
            self._store.add_driver(await asyncio.to_thread(self._plugins.open, driver))
        except NoSuchPlugin:
            raise NoSuchDriver(driver, volume=volume) from None

    async def _find_elsewhere(self, name: str) -> Volume | None:
        """A volume that a plugin has and we have not seen yet."""
        for driver in await self.plugin_drivers():
            found = await asyncio.to_thread(_ask, driver, name)
            if found:
                return self._store.add(self._store.plan(name, driver=driver.name))
        return None

    async def get(self, name: str) -> Volume:
        """The volume of that name, also one that only a plugin knows. Raises NoSuchVolume."""
        found = self._store.find(name)
        if found is None:
            found = await self._find_elsewhere(name)
        elif not self._store.is_local(found):
            await self._know_quietly(found.driver)
            found = self._store.get(name)
        if found is None:
            raise NoSuchVolume(name)
        return found

    async def _know_quietly(self, driver: str) -> None:
        try:
            await self._know_driver(driver, "")
        except CortenError as e:
            log.warning("volume plugin is not there", extra={"driver": driver, "reason": str(e)})

    async def list_elsewhere(self) -> tuple[list[Volume], list[str]]:
        """Volumes that only plugins know, and what went wrong with asking them."""
        found: dict[str, Volume] = {}
        warnings: list[str] = []
        for driver in await self.plugin_drivers():
            try:
                names = await asyncio.to_thread(driver.names)
            except CortenError as e:
                warnings.append(f"error while listing volumes of {driver.name}: {e}")
                continue
            for name in names:
                if self._store.find(name) is None:
                    found[name] = self._store.plan(name, driver=driver.name)
        return list(found.values()), warnings

    async def plugin_drivers(self) -> list[PluginDriver]:
        """All volume plugins that are there and answer."""
        for name in self._plugins.names():
            await self._know_quietly(name)
        return [driver for driver in self._store.drivers() if isinstance(driver, PluginDriver)]

    async def hold(self, volume: Volume, holder: str) -> str:
        """Mount it unless it is; returns its directory. Raises what the driver raises, holding nothing."""
        if not self._store.is_local(volume):
            await self._know_driver(volume.driver, "")
        if not self._store.needs_mount(volume):
            return volume.mountpoint
        use = self._uses.setdefault(volume.name, _Use())
        use.holders.add(holder)
        async with use.lock:
            if not use.path or await asyncio.to_thread(self._store.is_dead, volume):
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
                volume = self._store.get(name)
                if not self._store.is_local(volume):
                    await self._know_driver(volume.driver, "")
                await asyncio.to_thread(self._store.unmount, volume)
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

    async def resize(self, name: str, size: str) -> None:
        """Limit a volume to another size, in use or not.

        Raises NoSuchVolume, InvalidParameter, Conflict, NotSupported; then it has the size that it had.
        """
        use = self._uses.setdefault(name, _Use())
        async with use.lock:
            volume = self._store.get(name)
            resized = self._store.set_size(volume, size)
            try:
                await asyncio.to_thread(self._store.limit, resized)
            except BaseException as e:
                self._store.set_size(volume, volume.options["size"])
                if isinstance(e, PermissionError):
                    text = "an engine without CAP_SYS_RESOURCE cannot let it grow while it is in use"
                    raise NotSupported(f"update {name}: {text}") from e
                raise
        self._store.announce("update", resized)

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

    async def end_removals(self) -> None:
        """Remove what an engine that was killed was about to remove."""
        for name in self._store.rows.leaving():
            await self.remove_leaving(name)
        for name, driver in self._store.rows.removals():
            self._background.start(self._ask_again(name, driver), "remove volume")

    async def _ask_again(self, name: str, driver: str) -> None:
        """Ask a plugin once more to remove a volume; one that is not there is asked at the next start."""
        try:
            if self._store.find(name) is None:  # nobody has made another one
                await self._know_driver(driver, "")
                plugin = self._store.driver(driver)
                if isinstance(plugin, PluginDriver) and await asyncio.to_thread(plugin.knows, name):
                    await asyncio.to_thread(plugin.remove, self._store.plan(name, driver=driver))
            self._store.rows.end_removal(name)
        except CortenError as e:
            log.warning("volume not removed", extra={"volume": name, "driver": driver, "reason": str(e)})

    async def remove_leaving(self, name: str) -> None:
        """Remove a volume that `VolumeStore.set_leaving` has marked; what somebody else has is kept."""
        try:
            await self.remove(name)
        except (CortenError, OSError) as e:  # --volumes-from: somebody else has it, too
            log.debug("volume kept", extra={"volume": name, "reason": str(e)})
            self._store.rows.set_leaving(name, False)

    async def _remove_elsewhere(self, volume: Volume) -> None:
        """The row goes first, so that nobody begins to use it while its plugin removes it."""
        await self._know_driver(volume.driver, "")
        driver = self._store.driver(volume.driver)
        self._store.rows.begin_removal(volume)
        try:
            await asyncio.to_thread(driver.remove, volume)
        except BaseException:
            self._store.rows.add(volume)
            raise
        finally:
            self._store.rows.end_removal(volume.name)
        self._store.announce("destroy", volume)

    def adopt(self, name: str, holder: str, path: str) -> None:
        """A container that an earlier engine started has it mounted at `path`."""
        volume = self._store.find(name)
        if volume is not None and not (self._store.is_local(volume) and not self._store.needs_mount(volume)):
            use = self._uses.setdefault(name, _Use())
            use.holders.add(holder)
            use.path = path

    def sweep(self) -> None:
        """Unmount what a crash has left mounted and nobody holds."""
        local = self._store.local
        for name in local.mounted():
            use = self._uses.get(name)
            if use is None or not use.holders:
                local.unmount_all(name)


def _ask(driver: PluginDriver, name: str) -> bool:
    try:
        return driver.knows(name)
    except CortenError as e:
        log.warning("volume plugin does not answer", extra={"driver": driver.name, "reason": str(e)})
        return False
