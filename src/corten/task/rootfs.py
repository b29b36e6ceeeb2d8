"""The plan: from an OCI runtime document to the list of operations that build the container's root."""

from __future__ import annotations

import os
import stat

from corten.linux import mounts as m
from corten.task.mount_options import PROPAGATION, MountOptions
from corten.task.operations.binds import BindMount, MountLayers
from corten.task.operations.devices import BindDevice, MakeDevice, PopulateDev
from corten.task.operations.filesystems import MountCgroups, MountFilesystem
from corten.task.operations.protection import MaskPath, ReadonlyPath, WriteSysctl
from corten.task.operations.rootfilesystem import (
    AttachRoot,
    BindRoot,
    MountOverlay,
    PivotRoot,
    ReadonlyRoot,
    SetRootPropagation,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.task.operations import Operation
    from corten.task.prepared import Prepared

# Devices every container has, whatever the document says. Source: runtime-spec config-linux.md
# "Default Devices"; (name, major, minor).
DEFAULT_DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_DEFAULT_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def root_operation(
    spec: dict[str, Any], overlay: dict[str, Any] | None, mountpoint: str, prepared: Prepared | None = None
) -> Operation:
    """The operation that brings the root file system about. prepared: see `mount_operations`."""
    if prepared is not None:
        return AttachRoot(prepared.root)
    if overlay is not None:
        return MountOverlay(
            overlay["lower"], overlay["upper"], overlay["work"], mountpoint, overlay.get("volatile", False)
        )
    return BindRoot(spec["root"]["path"])


def mount_operations(
    spec: dict[str, Any],
    hierarchies: list[tuple[str, str]],
    prepared: Prepared | None = None,
    idmaps: dict[int, int] | None = None,
) -> tuple[list[Operation], list[BindMount]]:
    """Operations for `spec.mounts` in order, and those binds among them whose sources to clone first.

    prepared: what a task in a user namespace cannot open itself. idmaps: user namespaces of id-mapped
    mounts, by their place in `spec.mounts`.
    """
    plan: list[Operation] = []
    binds: list[BindMount] = []
    for place, mount in enumerate(spec.get("mounts") or ()):
        destination, source = mount["destination"], mount.get("source") or "none"
        options = MountOptions(mount.get("options") or [])
        fstype = mount.get("type") or "none"
        if prepared is not None and place in prepared.mounts:
            plan.append(BindMount(source, destination, options, tree=prepared.mounts[place]))
        elif options.flags & m.MS_BIND or fstype == "bind":
            userns_fd = idmaps.get(place, -1) if idmaps else -1
            if options.id_mapped and userns_fd < 0:
                raise OSError(95, "an id-mapped mount needs uidMappings and gidMappings", destination)
            bind = BindMount(source, destination, options, userns_fd)
            binds.append(bind)
            plan.append(bind)
        elif fstype == "overlay" and options.subpath:
            layers = options.data.removeprefix("lowerdir=").split(":")
            plan.append(MountLayers(layers, options.subpath, destination))
        elif fstype in ("cgroup", "cgroup2"):
            plan.append(MountCgroups(destination, options, hierarchies))
        else:
            plan.append(MountFilesystem(source, destination, fstype, options))
            if destination.rstrip("/") == "/dev":
                plan.append(_populate_dev(spec, prepared))
    return plan, binds


def _populate_dev(spec: dict[str, Any], prepared: Prepared | None) -> Operation:
    below = [mount["destination"].rstrip("/") for mount in spec.get("mounts") or ()]
    directories = [path[5:] for path in below if path.startswith("/dev/") and path.count("/") == 2]
    if "console" in directories:
        directories.remove("console")
    return PopulateDev(directories, () if prepared else DEFAULT_DEVICES, _DEFAULT_LINKS)


def device_operations(spec: dict[str, Any], prepared: Prepared | None = None) -> list[Operation]:
    """The document's own devices; none if the host's /dev is bound there. prepared: their nodes."""
    if _dev_mount(spec) == "bind":
        return []
    plan: list[Operation] = [] if _dev_mount(spec) else [_populate_dev(spec, prepared)]
    if prepared is not None:
        return [*plan, *(BindDevice(path, tree) for path, tree in prepared.devices.items())]
    return [*plan, *(MakeDevice(*device) for device in devices(spec))]


def devices(spec: dict[str, Any]) -> Iterator[tuple[str, int, int, int, int, int]]:
    """(path, kind, number, permissions, uid, gid) of each device that not every container has."""
    known = {f"/dev/{name}" for name, _, _ in DEFAULT_DEVICES}
    for device in (spec.get("linux") or {}).get("devices") or ():
        if device["path"] in known:
            continue
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        mode = device.get("fileMode")
        yield (
            device["path"],
            _KINDS[device["type"]],
            number,
            0o666 if mode is None else mode & 0o7777,
            device.get("uid", 0),
            device.get("gid", 0),
        )


def _dev_mount(spec: dict[str, Any]) -> str:
    """Type of what is mounted on /dev; "" if nothing is."""
    for mount in spec.get("mounts") or ():
        if mount["destination"].rstrip("/") == "/dev":
            return mount.get("type") or "bind"
    return ""


def protection_operations(spec: dict[str, Any]) -> list[Operation]:
    """Kernel parameters, then what is read-only, then what is hidden: in this order they can be done."""
    linux = spec.get("linux") or {}
    plan: list[Operation] = [WriteSysctl(k, v) for k, v in (linux.get("sysctl") or {}).items()]
    plan += [ReadonlyPath(path) for path in linux.get("readonlyPaths") or ()]
    plan += [MaskPath(path) for path in linux.get("maskedPaths") or ()]
    return plan


def final_operations(spec: dict[str, Any]) -> list[Operation]:
    """When all is mounted: what makes it the root, and what is done to the root's own mount."""
    plan: list[Operation] = [PivotRoot()]
    if (spec.get("root") or {}).get("readonly"):
        plan.append(ReadonlyRoot())
    propagation = (spec.get("linux") or {}).get("rootfsPropagation")
    if propagation:
        plan.append(SetRootPropagation(PROPAGATION[propagation]))
    return plan
