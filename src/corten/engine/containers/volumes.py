"""What a start does for the container's mounts before they are made, and what its end undoes."""

from __future__ import annotations

import asyncio
import errno
import os

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.record import MountRecord
from corten.engine.containers.userns import IdMaps
from corten.errors import InternalError, InvalidParameter, NotSupported
from corten.linux.mountinfo import mount_of
from corten.linux.openat2 import open_beneath
from corten.volumes.copyup import copy_up

_PEERS = frozenset({"shared", "rshared"})
_FOLLOWERS = frozenset({"slave", "rslave"})


async def prepare_mounts(context: Context, container: Container, lower: list[str]) -> None:
    """Volumes are mounted, new ones filled, missing sources of -v made. Undone by `release_mounts`."""
    runtime = container.record.host_config.runtime
    for mount in container.record.mounts:
        if mount.subpath and context.settings.runtimes.get(runtime) is not None:
            raise NotSupported(f"{mount.kind}-subpath needs Corten's own runtime")
        if mount.kind == "volume":
            volume = context.volumes.get(mount.name)
            mount.source = await context.volume_manager.hold(volume, container.id)
            if mount.copy_up and not mount.subpath and _is_empty(mount.source):
                layers = [f"{container.directory}/upper", *lower]
                on_disk = context.host.id_maps
                owners = None if on_disk is None else on_disk.outside
                await asyncio.to_thread(copy_up, layers, mount.destination, mount.source, owners)
            if mount.subpath:
                _check_subpath(mount)
        elif mount.kind == "bind":
            if mount.create_source and not os.path.exists(mount.source):
                _make_source(mount.source, container.record.id_maps)
            _check_propagation(mount)


def _is_empty(directory: str) -> bool:
    """But for what an interrupted copy-up has left, which the next one looks after."""
    return all(name.startswith(".corten-") for name in os.listdir(directory))


def _check_subpath(mount: MountRecord) -> None:
    """Tell in time, and in Docker's words. What is mounted is looked up again, by the container's init."""
    path = f"{mount.source}/{mount.subpath}"
    try:
        directory = os.open(mount.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(open_beneath(directory, mount.subpath, os.O_PATH))
        finally:
            os.close(directory)
    except OSError as e:
        reason = "path escapes the volume" if e.errno == errno.EXDEV else (e.strerror or "").lower()
        raise InvalidParameter(f"cannot access path {path}: lstat {path}: {reason}") from e


def _make_source(path: str, id_maps: IdMaps | None) -> None:
    """The container's root owns what is made for it."""
    missing = [path]
    while not os.path.lexists(parent := os.path.dirname(missing[-1])):
        missing.append(parent)
    try:
        os.makedirs(path, exist_ok=True)
        if id_maps is not None:
            for made in missing:
                os.chown(made, *id_maps.root, follow_symlinks=False)
    except OSError as e:
        raise InternalError(
            f"error while creating mount source path '{path}': mkdir {path}: {(e.strerror or '').lower()}"
        ) from e


def _check_propagation(mount: MountRecord) -> None:
    if mount.propagation not in _PEERS | _FOLLOWERS:
        return
    try:
        below = mount_of(mount.source)
    except OSError as e:
        raise InvalidParameter(f"{mount.source}: {e.strerror}") from e
    if mount.propagation in _PEERS and not below.shared:
        raise InternalError(f"path {mount.source} is mounted on {below.path} but it is not a shared mount")
    if mount.propagation in _FOLLOWERS and not (below.shared or below.slave):
        raise InternalError(
            f"path {mount.source} is mounted on {below.path} but it is not a shared or slave mount"
        )


def announce_mounts(context: Context, container: Container) -> None:
    """The event `mount` of each volume."""
    for mount in container.record.mounts:
        if mount.kind == "volume":
            attributes = {
                "container": container.id,
                "destination": mount.destination,
                "driver": mount.driver,
                "propagation": mount.propagation,
                "read/write": "false" if mount.read_only else "true",
            }
            context.events.publish("volume", "mount", mount.name, attributes)


def release_mounts(context: Context, container: Container, *, announce: bool) -> None:
    """The container does not run (any more). announce: with the event `unmount` of each volume."""
    for mount in container.record.mounts:
        if mount.kind == "volume":
            context.volume_manager.release(mount.name, container.id)
            if announce:
                attributes = {"container": container.id, "driver": mount.driver}
                context.events.publish("volume", "unmount", mount.name, attributes)


def adopt_mounts(context: Context, container: Container) -> None:
    """It was started by an earlier engine."""
    for mount in container.record.mounts:
        if mount.kind == "volume":
            context.volume_manager.adopt(mount.name, container.id, mount.source)
