"""The mounts of config.json: Docker's defaults with the container's own over them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from corten.engine.containers.record import MountRecord
from corten.engine.containers.userns import IdMaps
from corten.oci import runtime_spec as oci
from corten.task.mount_options import SUBPATH
from corten.types.container import HostConfig

DEFAULT_SHM_BYTES = 64 << 20
_TTY_GROUP = 5
SHM = "/dev/shm"  # noqa: S108

_PROC = oci.Mount(destination="/proc", type="proc", source="proc", options=["nosuid", "noexec", "nodev"])
_DEV = oci.Mount(
    destination="/dev",
    type="tmpfs",
    source="tmpfs",
    options=["nosuid", "strictatime", "mode=755", "size=65536k"],
)
_DEVPTS = oci.Mount(
    destination="/dev/pts",
    type="devpts",
    source="devpts",
    options=["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", f"gid={_TTY_GROUP}"],
)
_MQUEUE = oci.Mount(
    destination="/dev/mqueue", type="mqueue", source="mqueue", options=["nosuid", "noexec", "nodev"]
)


def _sysfs(access: str) -> oci.Mount:
    options = ["nosuid", "noexec", "nodev", access]
    return oci.Mount(destination="/sys", type="sysfs", source="sysfs", options=options)


def _cgroup(access: str) -> oci.Mount:
    options = [access, "nosuid", "noexec", "nodev"]
    return oci.Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=options)


_PLAIN = (_PROC, _DEV, _DEVPTS, _sysfs("ro"), _cgroup("ro"), _MQUEUE)
_PRIVILEGED = (_PROC, _DEV, _DEVPTS, _sysfs("rw"), _cgroup("rw"), _MQUEUE)

# These stay writable under --read-only.
_NEVER_READ_ONLY = frozenset(("/proc", "/dev", "/dev/pts", SHM, "/dev/mqueue"))
_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")


def shm_mount(size_bytes: int) -> oci.Mount:
    """A tmpfs of the container's own for POSIX shared memory."""
    options = ["nosuid", "noexec", "nodev", "mode=1777", f"size={size_bytes or DEFAULT_SHM_BYTES}"]
    return oci.Mount(destination=SHM, type="tmpfs", source="shm", options=options)


_DEFAULT_SHM = shm_mount(0)


def bind(source: str, destination: str, *, read_only: bool = False) -> oci.Mount:
    """A private bind mount."""
    options = ["rbind", "rprivate", "ro"] if read_only else ["rbind", "rprivate"]
    return oci.Mount(destination=destination, type="bind", source=source, options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Whose files are whose in a container's mounts.

    user: uid and gid of its process as the host knows them, for id-mapped binds. maps: of its user namespace.
    volumes: of those ids that volumes have on the disk; None = as they are.
    """

    user: tuple[int, int] = (0, 0)
    maps: IdMaps | None = None
    volumes: IdMaps | None = None


_PLAIN_OWNERS = Owners()


def build_mounts(
    host_config: HostConfig,
    records: Sequence[MountRecord],
    *,
    files: Sequence[oci.Mount],
    owners: Owners = _PLAIN_OWNERS,
    shm_source: str = "",
) -> list[oci.Mount]:
    """All mounts in the order in which they are to be made.

    files: binds of /etc/hosts and its kin.
    shm_source: directory on the host that is /dev/shm ("" = a tmpfs of its own).
    """
    if shm_source:
        shm = bind(shm_source, SHM)
    elif host_config.shm_size in (0, DEFAULT_SHM_BYTES):
        shm = _DEFAULT_SHM
    else:
        shm = shm_mount(host_config.shm_size)
    own = [_oci_mount(record, owners) for record in records]
    taken = {record.destination for record in records}
    own.extend(file for file in files if file.destination not in taken)
    own.sort(key=_depth)
    defaults = _PRIVILEGED if host_config.privileged else _PLAIN
    base = (
        [mount for mount in (*defaults, shm) if mount.destination not in taken] if taken else [*defaults, shm]
    )
    if host_config.ipc_mode == "none" and shm in base:
        base.remove(shm)
    host_ipc = host_config.ipc_mode == "host"
    if owners.maps is not None:  # whose root cannot mount what is the host's
        base = [_for_ids(mount, owners.maps) for mount in base if mount is not _MQUEUE or not host_ipc]
        if host_ipc and os.path.ismount(_MQUEUE.destination):
            base.append(bind(_MQUEUE.destination, _MQUEUE.destination))
    if host_config.readonly_rootfs:
        base = [_read_only(mount) for mount in base]
    return base + own


def _for_ids(mount: oci.Mount, maps: IdMaps) -> oci.Mount:
    """Without the terminals' group where there is no such group."""
    if mount.type == "devpts" and not any(
        each.container_id <= _TTY_GROUP < each.container_id + each.size for each in maps.gids
    ):
        options = [option for option in mount.options if option != f"gid={_TTY_GROUP}"]
        return msgspec.structs.replace(mount, options=options)
    return mount


def _depth(mount: oci.Mount) -> int:
    """Parents before children; otherwise in the order given."""
    return mount.destination.rstrip("/").count("/")


def _read_only(mount: oci.Mount) -> oci.Mount:
    if mount.destination in _NEVER_READ_ONLY or "ro" in mount.options:
        return mount
    options = [option for option in mount.options if option != "rw"]
    return oci.Mount(
        destination=mount.destination, type=mount.type, source=mount.source, options=[*options, "ro"]
    )


def _oci_mount(record: MountRecord, owners: Owners) -> oci.Mount:
    if record.kind == "tmpfs":
        options = _tmpfs_options(record)
        return oci.Mount(destination=record.destination, type="tmpfs", source="tmpfs", options=options)
    subpath = [f"{SUBPATH}{record.subpath}"] if record.subpath else []
    if record.kind == "image":
        return _image_mount(record, subpath, owners.maps)
    options = ["rbind" if record.recursive else "bind", record.propagation or "rprivate"]
    if record.read_only:
        options.append("rro" if record.recursive and record.recursive_ro else "ro")
    mount = oci.Mount(
        destination=record.destination, type="bind", source=record.source, options=options + subpath
    )
    if record.id_mapped:
        return _id_mapped(mount, owners.user)
    if record.inner_ids and owners.maps is not None:
        return _with_maps(mount, owners.maps)
    if record.kind == "volume" and owners.volumes is not None:
        return _with_maps(mount, owners.volumes)
    return mount


def _with_maps(mount: oci.Mount, maps: IdMaps) -> oci.Mount:
    return msgspec.structs.replace(
        mount,
        options=[*mount.options, "idmap"],
        uid_mappings=list(maps.uids),
        gid_mappings=list(maps.gids),
    )


def _id_mapped(mount: oci.Mount, user: tuple[int, int]) -> oci.Mount:
    """Whoever owns the source is the container's user inside; whoever else has these two ids is nobody."""
    owner = os.stat(mount.source)
    return oci.Mount(
        destination=mount.destination,
        type=mount.type,
        source=mount.source,
        options=[*mount.options, "idmap"],
        uid_mappings=_swapped(owner.st_uid, user[0]),
        gid_mappings=_swapped(owner.st_gid, user[1]),
    )


_IDS = (1 << 32) - 1


def _swapped(on_disk: int, inside: int) -> list[oci.IDMapping]:
    """One id for another; all others but these two as they are."""
    if on_disk == inside:
        return [oci.IDMapping(container_id=0, host_id=0, size=_IDS)]
    low, high = sorted((on_disk, inside))
    ranges = [(0, low), (low + 1, high - low - 1), (high + 1, _IDS - high - 1)]
    return [
        oci.IDMapping(container_id=on_disk, host_id=inside, size=1),
        *(oci.IDMapping(container_id=first, host_id=first, size=size) for first, size in ranges if size > 0),
    ]


def _image_mount(record: MountRecord, subpath: list[str], maps: IdMaps | None) -> oci.Mount:
    """Overlayfs wants two directories at least: an image of one layer is that layer.

    Not for the root of a user namespace, who may have the right to remount it (see `mapped_overlay`).
    """
    layers = list(dict.fromkeys(record.data))
    if len(layers) == 1 and maps is None:
        options = ["bind", "rprivate", "ro", *subpath]
        return oci.Mount(destination=record.destination, type="bind", source=layers[0], options=options)
    options = ["ro", f"lowerdir={':'.join(layers)}", *subpath]
    return oci.Mount(destination=record.destination, type="overlay", source="overlay", options=options)


def _tmpfs_options(record: MountRecord) -> list[str]:
    """Docker's defaults, each of which the user may contradict ("exec" undoes "noexec")."""
    options = [default for default in _TMPFS_DEFAULTS if default.removeprefix("no") not in record.data]
    options.extend(option for option in record.data if option not in options)
    if record.read_only and "ro" not in options:
        options.append("ro")
    return options
