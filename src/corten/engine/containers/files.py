"""The files of containers: `cp`, `export`, `diff`. Worker processes do the work (`snapshots.filejobs`)."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Sequence
from time import perf_counter

import msgspec

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.filestream import Answer, JobStream, OnProgress
from corten.engine.containers.identity import IdentityCache
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.spec import owners
from corten.engine.containers.state import Status
from corten.engine.containers.userns import IdMaps
from corten.engine.containers.volumes import prepare_mounts
from corten.errors import Conflict, CortenError, InvalidParameter, NoSuchContainer, NotFound, NotSupported
from corten.images.blocking import StorageError, feed_to
from corten.linux.namespaces import open_mount_namespace, open_namespace_of_cgroup
from corten.snapshots.view import Maps, View, ViewMount
from corten.snapshots.workers import WorkerPool
from corten.snapshots.workers.door import Door
from corten.types.container import PathStat
from corten.types.operations import Archive

_JOBS = "corten.snapshots.filejobs"
_AT_ONCE = 64  # jobs that clients may keep waiting
_EXIT_PATIENCE_S = 10


class FileService:
    """Implements `corten.api.routes.files.Files`; what is not said here is said there."""

    def __init__(
        self,
        context: Context,
        workers: WorkerPool,
        *,
        mountpoint: str,
    ) -> None:
        """mountpoint: an empty directory, for the workers' own namespaces."""
        self._context = context
        self._workers = workers
        self._mountpoint = mountpoint
        self._identities = IdentityCache()
        self._door = Door(_AT_ONCE, "files")

    async def stat(self, ref: str, path: str) -> PathStat:
        """See Files."""
        view, fds = await self._view(self._usable(ref))
        params: Answer = {"view": view, "path": path}
        try:
            answer = await self._run("stat_path", params, fds, _ignore, lambda: _close(fds))
        except OSError as e:
            raise _explained(e, path, ref) from e
        return msgspec.convert(answer, PathStat)

    async def read(self, ref: str, path: str) -> Archive:
        """See Files."""
        container = self._usable(ref)
        view, fds = await self._view(container)
        try:
            first, stream = await self._stream("read_path", {"view": view, "path": path}, fds)
        except OSError as e:
            raise _explained(e, path, ref) from e
        self._context.publish(container, "archive-path")
        return Archive(stat=msgspec.convert(first, PathStat), chunks=stream)

    async def write(
        self, ref: str, path: str, body: AsyncIterator[bytes], *, keep_types: bool, own: bool
    ) -> None:
        """See Files."""
        container = self._usable(ref)
        params: Answer = {
            "path": path,
            "keep_types": keep_types,
            "owner": self._owner(container) if own else None,
            "readonly_root": container.record.host_config.readonly_rootfs,
        }
        view, fds = await self._view(container)
        if fds:
            await self._write(ref, {**params, "view": view}, fds, body)
        else:
            async with container.lock:  # its overlay can be mounted once only
                if self._context.store.find(container.id) is not container:
                    raise NoSuchContainer(ref)
                if container.status.is_running():
                    raise Conflict(f"container {container.name} was started meanwhile: try again")
                await self._write(ref, {**params, "view": view}, [], body)
        self._context.publish(container, "extract-to-dir")

    async def _write(
        self, ref: str, params: Answer, namespace: Sequence[int], body: AsyncIterator[bytes]
    ) -> None:
        async def unpack(source: int) -> Answer:
            fds = [source, *namespace]
            return await self._run("write_path", params, fds, _ignore, lambda: _close(fds))

        try:
            await feed_to(body, unpack)
        except OSError as e:
            raise _explained(e, str(params["path"]), ref) from e

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """See Files."""
        container = self._usable(ref)
        view, namespace = self._layers(container), await self._namespace(container)
        try:
            _, stream = await self._stream("export", {"view": view}, [] if namespace is None else [namespace])
        except OSError as e:
            raise StorageError(e) from e
        self._context.publish(container, "export")
        return stream

    async def changes(self, ref: str) -> AsyncIterator[bytes]:
        """See Files."""
        began = perf_counter()
        container = self._usable(ref)
        try:
            _, stream = await self._stream("list_changes", {"view": self._layers(container)}, [])
        except OSError as e:
            raise StorageError(e) from e
        self._context.measures.changes.observe(perf_counter() - began)
        return stream

    # -- jobs -----------------------------------------------------------------------------------

    async def _stream(self, job: str, params: Answer, fds: Sequence[int]) -> tuple[Answer, JobStream]:
        return await JobStream.open(
            lambda all_fds, on_progress, on_start: self._run(job, params, all_fds, on_progress, on_start), fds
        )

    async def _run(
        self,
        job: str,
        params: Answer,
        fds: Sequence[int],
        on_progress: OnProgress,
        on_start: Callable[[], None],
    ) -> Answer:
        return await self._door.job(
            self._workers, f"{_JOBS}:{job}", params, fds, on_progress, on_start=on_start, bounded=False
        )

    # -- what the jobs are told -------------------------------------------------------------------

    def _usable(self, ref: str) -> Container:
        container = self._context.store.get(ref)
        if container.status in (Status.REMOVING, Status.DEAD):
            raise Conflict(f"container is {container.status.value}: its files are going")
        return container

    async def _namespace(self, container: Container) -> int | None:
        """The mount namespace of a running container, None of others. Raises NotSupported."""
        await container.settled()
        while container.status.is_running() and container.pid:
            found = _mount_namespace(container)
            if found is not None:
                return found
            if os.path.exists(f"/proc/{container.pid}/ns"):
                raise NotSupported(
                    f'the runtime "{container.record.host_config.runtime}" shows nobody the files of a '
                    "running container: stop it first"
                )
            await _ended(container)
        return None

    def _layers(self, container: Container) -> View:
        """Image and changes, without mounts."""
        context = self._context
        directory = container.directory
        lower = context.images.lower_dirs(context.images.get(container.record.image_id))
        return View(
            mountpoint=self._mountpoint,
            lower=[*lower, context.underlay] if context.underlay else lower,
            upper=f"{directory}/upper",
            work=f"{directory}/work",
            mounts=[],
            maps=_maps(container.record.id_maps),
        )

    async def _view(self, container: Container) -> tuple[View, list[int]]:
        """What the jobs see, and the fds they need for it: the mount namespace of a running container."""
        view = self._layers(container)
        view["mounts"] = self._network_files(container)
        records = container.record.mounts
        namespace = await self._namespace(container)
        if namespace is None:
            if records:
                # Held until the container goes, or has run.
                await prepare_mounts(self._context, container, view["lower"])
            records = [record for record in records if record.kind != "tmpfs"]
        maps = owners(container.record.id_maps, self._context.host.id_maps, (0, 0))
        mounts = {mount["destination"]: mount for mount in view["mounts"]}
        for record in records:
            mounts[record.destination] = ViewMount(
                source=record.source,
                layers=list(dict.fromkeys(record.data)) if record.kind == "image" else [],
                destination=record.destination,
                read_only=record.read_only,
                recursive=record.recursive,
                subpath=record.subpath,
                maps=_maps(maps.volumes) if record.kind == "volume" else None,
            )
        view["mounts"] = list(mounts.values())
        return view, [] if namespace is None else [namespace]

    def _network_files(self, container: Container) -> list[ViewMount]:
        """/etc/hosts and its kin, which are there from the first start on."""
        ref = container_mode(container.record.host_config.network_mode)
        try:
            owner = self._context.store.get(ref) if ref else container
        except CortenError:  # the other container has gone
            return []
        return [
            ViewMount(
                source=f"{owner.run_directory}/{name}",
                layers=[],
                destination=f"/etc/{name}",
                read_only=False,
                recursive=False,
                subpath="",
                maps=None,
            )
            for name in ("resolv.conf", "hostname", "hosts")
        ]

    def _owner(self, container: Container) -> list[int] | None:
        """Who the container's user is; None for one without USER."""
        config, layers = container.record.config, self._layers(container)
        if not config.user:
            return None
        identity = self._identities.resolve(
            container.record.image_id, layers["upper"], layers["lower"], config.user, ()
        )
        return [identity.uid, identity.gid]


def _mount_namespace(container: Container) -> int | None:
    """None if the process is not this container's: it has gone, or lives elsewhere."""
    if container.record.id_maps is None:
        return open_mount_namespace(container.pid, f"upperdir={container.directory}/upper")
    try:  # its overlay names no directory of ours; but none but our own runtime has run it
        return open_namespace_of_cgroup(container.pid, "mnt", container.id)
    except OSError:
        return None


def _maps(id_maps: IdMaps | None) -> Maps | None:
    if id_maps is None:
        return None
    uids, gids = id_maps.documents()
    return Maps(uids=uids, gids=gids)


async def _ended(container: Container) -> None:
    """Wait until an exit that the kernel knows of is known here."""
    try:
        async with asyncio.timeout(_EXIT_PATIENCE_S):
            await container.ended.wait()
    except TimeoutError:
        raise Conflict(f"container {container.name} is just ending: try again") from None


def _ignore(_: Answer) -> None: ...


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _explained(error: OSError, path: str, ref: str) -> CortenError:
    """What went wrong with a path inside, in Docker's words."""
    if error.errno == errno.ENOENT:
        return NotFound(f"Could not find the file {path} in container {ref}")
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
        return InvalidParameter(f"lstat {path}: {(error.strerror or '').lower()}")
    return StorageError(error)
