"""Volumes as archives and copies: `volume export`, `import`, `clone`, `rename`.

What is new is made in <root>/tmp and becomes a volume by one rename: wholly or not at all. Containers that
write to the source are frozen if wanted, for as long as copying takes: a moment where contents are shared.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.filestream import Answer, JobStream
from corten.engine.containers.pause import Pauser
from corten.errors import Conflict, NotFound, NotSupported
from corten.images.blocking import StorageError, feed_to
from corten.snapshots.workers import WorkerPool
from corten.snapshots.workers.door import Door
from corten.volumes.store import Volume

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_AT_ONCE = 16
_ENCRYPT = "encrypt"


class VolumeTransfer:
    """The event loop's side; worker processes do the work."""

    def __init__(self, context: Context, workers: WorkerPool, pauser: Pauser, *, tmp: str) -> None:
        """tmp: <root>/tmp, emptied at start."""
        self._context = context
        self._workers = workers
        self._pauser = pauser
        self._tmp = tmp
        self._door = Door(_AT_ONCE, "volumes")

    async def export(self, name: str, *, pause: bool) -> AsyncIterator[bytes]:
        """A tar of what is in it. pause: of one moment, in which the containers that have it stand still."""
        volume = await self._context.volume_manager.get(name)
        if pause and self._running(name):
            if _ENCRYPT in volume.options:  # the copy would be in plain on the disk
                raise NotSupported(
                    f"export {name}: an encrypted volume in use is exported without pause (--pause=false)"
                )
            return self._stream_copy(volume)
        return self._stream(volume)

    async def _stream(self, volume: Volume) -> AsyncIterator[bytes]:
        holder = f"export-{secrets.token_hex(8)}"
        async with self._context.volume_manager.held(volume, holder) as path:
            async for piece in self._tar(path):
                yield piece

    async def _stream_copy(self, volume: Volume) -> AsyncIterator[bytes]:
        async with self._staging() as directory:
            await self._copy(volume, directory, pause=True)
            async for piece in self._tar(directory):
                yield piece

    async def _tar(self, path: str) -> AsyncIterator[bytes]:
        try:
            _, stream = await JobStream.open(
                lambda fds, on_progress, on_start: self._door.job(
                    self._workers,
                    "corten.snapshots.volumejobs:write_tar",
                    {},
                    fds,
                    on_progress,
                    on_start=on_start,
                    bounded=False,
                ),
                [os.open(path, _DIRECTORY)],
            )
        except OSError as e:
            raise StorageError(e) from e
        try:
            async for piece in stream:
                yield piece
        finally:
            await stream.aclose()

    async def import_tar(self, name: str, body: AsyncIterator[bytes]) -> Volume:
        """A new volume with what is in a tar. Raises Conflict if there is one of that name."""
        self._check_free(name)

        async def unpack(source: int) -> Answer:
            fds = [source, os.open(directory, _DIRECTORY)]
            return await self._job("corten.snapshots.volumejobs:read_tar", fds)

        async with self._staging() as directory:
            try:
                await feed_to(body, unpack)
            except OSError as e:
                raise StorageError(e) from e
            return self._become(name, directory)

    async def clone(self, source: str, name: str, *, pause: bool) -> Volume:
        """A new volume with the contents and labels of another; an encrypted one keeps its key."""
        volume = await self._context.volume_manager.get(source)
        self._check_free(name)
        _check_key_moves("clone", volume)
        async with self._staging() as directory:
            if _ENCRYPT in volume.options:
                return await self._clone_encrypted(volume, name, directory, pause=pause)
            await self._copy(volume, directory, pause=pause)
            return self._become(name, directory, labels=dict(volume.labels))

    async def _clone_encrypted(self, volume: Volume, name: str, directory: str, *, pause: bool) -> Volume:
        """What is on the disk is copied, as it is there: gocryptfs writes what it is told at once."""
        cipher = self._context.volumes.local.stored(volume)
        if os.path.isdir(cipher):
            copy = os.path.join(os.path.dirname(directory), os.path.basename(cipher))
            os.mkdir(copy, 0o755)
            await self._copy(volume, copy, pause=pause, source=cipher)
        return self._become(name, directory, dict(volume.labels), dict(volume.options))

    async def rename(self, name: str, to: str) -> None:
        """Another name. Raises Conflict while containers have it: they know it by the old one."""
        store = self._context.volumes
        volume = store.get(name)
        if not store.is_local(volume):
            raise NotSupported(f"rename {name}: the driver {volume.driver} has no way to rename a volume")
        self._check_free(to)
        _check_key_moves("rename", volume)
        if users := store.rows.users(name):
            raise Conflict(f"rename {name}: volume is in use - [{', '.join(users)}]")
        await self._context.volume_manager.settle(name)
        store.rename(volume, to)

    def _check_free(self, name: str) -> None:
        self._context.volumes.check_new(name)

    def _become(
        self,
        name: str,
        directory: str,
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
    ) -> Volume:
        self._check_free(name)  # time has passed
        return self._context.volumes.adopt(name, os.path.dirname(directory), labels or {}, options)

    @asynccontextmanager
    async def _staging(self) -> AsyncIterator[str]:
        """An empty directory that is to be a volume's _data; what is not taken from here goes."""
        folder = os.path.join(self._tmp, f"volume-{secrets.token_hex(8)}")
        directory = os.path.join(folder, "_data")
        os.makedirs(directory, 0o755)
        try:
            yield directory
        finally:
            if os.path.isdir(folder):
                self._context.trash.discard(folder)

    async def _copy(self, volume: Volume, directory: str, *, pause: bool, source: str = "") -> None:
        """source: instead of what containers see."""
        holder = f"copy-{secrets.token_hex(8)}"
        async with AsyncExitStack() as stack:
            path = await stack.enter_async_context(self._context.volume_manager.held(volume, holder))
            thaw = await stack.enter_async_context(self._frozen(volume.name, wanted=pause))
            loop = asyncio.get_running_loop()

            def on_progress(_: Answer) -> None:
                loop.call_soon_threadsafe(thaw.set)

            try:
                await self._job(
                    "corten.volumes.treejobs:copy_tree",
                    [os.open(source or path, _DIRECTORY), os.open(directory, _DIRECTORY)],
                    on_progress,
                )
            except OSError as e:
                raise StorageError(e) from e

    async def _job(
        self, job: str, fds: list[int], on_progress: Callable[[Answer], None] | None = None
    ) -> Answer:
        def close() -> None:
            for fd in fds:
                os.close(fd)

        return await self._door.job(self._workers, job, {}, fds, on_progress, on_start=close, bounded=False)

    def _running(self, name: str) -> list[str]:
        users = self._context.volumes.rows.users(name)
        found = (self._context.store.find(identifier) for identifier in users)
        return [container.id for container in found if container and container.status.is_running()]

    @asynccontextmanager
    async def _frozen(self, name: str, *, wanted: bool) -> AsyncIterator[asyncio.Event]:
        """The containers that have the volume stand still until the event is set, or the block ends."""
        thaw = asyncio.Event()
        frozen: list[Container] = []

        async def resume() -> None:
            await thaw.wait()
            for container in frozen:
                await self._pauser.thaw(container)

        resuming = asyncio.create_task(resume())
        try:
            for identifier in self._running(name) if wanted else ():
                container = self._context.store.get(identifier)
                with suppress(Conflict, NotFound):  # it has ended, or somebody else has paused it
                    await self._pauser.pause(container, for_a_moment=True)
                    frozen.append(container)
            yield thaw
        finally:
            thaw.set()
            await resuming


def _check_key_moves(action: str, volume: Volume) -> None:
    """Raise NotSupported if a credential program knows the key by the volume's name."""
    if volume.options.get(_ENCRYPT, "").startswith("program:"):
        raise NotSupported(f"{action} {volume.name}: its key is kept under its name by a credential program")
