"""What a task in a user namespace needs the host's rights for: a helper process opens it, init receives it.

    launcher ──clone3──► helper   the host's rights and a mount namespace of its own: root, sources of
        │                   │     binds and images, device nodes
        │                   ▼ descriptors
        └──clone3──► init (see `corten.task.launch`), which has nothing but what it is given

Messages, each with one descriptor: {"root": 1}, {"mount": place in spec.mounts}, {"device": path}; then
{"done": 1}. A failure is told as on the status channel.
"""

from __future__ import annotations

import os
import socket
import stat

from corten.linux import mounts as m
from corten.linux.idmap import host_id
from corten.linux.mapped_overlay import open_mapped_overlay
from corten.linux.openat2 import open_beneath
from corten.linux.process import close_all_but
from corten.linux.syscalls import PR_SET_DUMPABLE, prctl
from corten.task import rootfs
from corten.task.channel import SetupError, hear, tell, tell_error
from corten.task.locking import needs_locks, send_locked
from corten.task.mount_options import MountOptions
from corten.task.operations.binds import BindMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from corten.task.setup import TaskSetup


class Prepared:
    """Descriptors of detached mounts: the root, mounts by their place in the document, devices by path."""

    __slots__ = ("devices", "mounts", "root")

    def __init__(self) -> None:
        self.root = -1
        self.mounts: dict[int, int] = {}
        self.devices: dict[str, int] = {}


def receive(sock: socket.socket) -> Prepared:
    """All that the helper has made. Raises SetupError."""
    prepared = Prepared()
    while True:
        message, fds = hear(sock)
        if message is None:
            raise SetupError(5, "prepare mounts", "the helper process ended before its work was done")
        if "root" in message:
            prepared.root = fds[0]
        elif "mount" in message:
            prepared.mounts[message["mount"]] = fds[0]
        elif "device" in message:
            prepared.devices[message["device"]] = fds[0]
        else:
            return prepared


def run(setup: TaskSetup, sock: socket.socket) -> NoReturn:
    """The helper's life."""
    try:
        prctl(PR_SET_DUMPABLE, 0)
        os.umask(0)
        close_all_but(sock.fileno(), setup.userns_fd, *setup.idmaps.values())
        _send_mounts(setup, sock)
        _send_root(setup, sock)
        _send_devices(setup, sock)
        tell(sock, {"done": 1})
    except SetupError as e:
        tell_error(sock, e)
    except BaseException as e:
        tell_error(sock, SetupError(5, "internal", f"{type(e).__name__}: {e}"))
    finally:
        os._exit(0)
    raise SystemExit(1)  # unreachable; for the type checker


def _send_mounts(setup: TaskSetup, sock: socket.socket) -> None:
    """Sources of binds, before propagation is cut; then layers of other images."""
    layers: list[tuple[int, MountOptions]] = []
    locked: list[tuple[int, BindMount]] = []
    for place, mount in enumerate(setup.spec.get("mounts") or ()):
        fstype, options = mount.get("type") or "none", MountOptions(mount.get("options") or [])
        if options.flags & m.MS_BIND or fstype == "bind":
            bind = BindMount(
                mount.get("source") or "none", mount["destination"], options, setup.idmaps.get(place, -1)
            )
            try:
                bind.prepare()
            except OSError as e:
                raise SetupError.of(e, bind.describe()) from None
            if needs_locks(bind):
                locked.append((place, bind))
                continue
            tell(sock, {"mount": place}, (bind.tree,))
            os.close(bind.tree)
        elif fstype == "overlay":
            layers.append((place, options))
    if locked:
        send_locked(sock, setup.root_target, locked)
    try:
        m.mount(None, "/", None, m.MS_REC | m.MS_SLAVE)
        for place, options in layers:
            tree = _image(setup, options)
            tell(sock, {"mount": place}, (tree,))
            os.close(tree)
    except OSError as e:
        raise SetupError.of(e, "mount image") from None


def _image(setup: TaskSetup, options: MountOptions) -> int:
    """What another image has (at a subpath), with the container's ids."""
    lower = options.data.removeprefix("lowerdir=").split(":")
    merged = _overlay(setup, {"lower": lower})
    if not options.subpath:
        return merged
    directory = os.open(f"{setup.mountpoint}/merged", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    inner = open_beneath(directory, options.subpath, os.O_PATH)
    os.close(directory)
    os.close(merged)
    tree = m.open_tree(inner, b"", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
    os.close(inner)
    return tree


def _overlay(setup: TaskSetup, overlay: dict[str, Any]) -> int:
    return open_mapped_overlay(
        overlay["lower"],
        setup.mountpoint,
        userns_fd=setup.userns_fd,
        root=_root_ids(setup),
        upper=overlay.get("upper", ""),
        work=overlay.get("work", ""),
        volatile=overlay.get("volatile", False),
    )


def _root_ids(setup: TaskSetup) -> tuple[int, int]:
    linux = setup.spec["linux"]
    return host_id(linux.get("uidMappings") or [], 0), host_id(linux.get("gidMappings") or [], 0)


def _send_root(setup: TaskSetup, sock: socket.socket) -> None:
    try:
        if setup.overlay is not None:
            tree = _overlay(setup, setup.overlay)
        else:
            path = setup.spec["root"]["path"]
            tree = m.open_tree(m.AT_FDCWD, path, m.OPEN_TREE_CLONE | m.AT_RECURSIVE)
            m.mount_setattr(tree, propagation=m.MS_PRIVATE)
    except OSError as e:
        raise SetupError.of(e, "mount root file system") from None
    tell(sock, {"root": 1}, (tree,))
    os.close(tree)


def _send_devices(setup: TaskSetup, sock: socket.socket) -> None:
    """Nodes on a file system of our own: made inside they would be worth nothing; the host's are its own."""
    try:
        detached = m.fsmount("tmpfs", [("mode", "755"), ("size", "64k")])
        folder = os.open(setup.root_target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        m.move_mount(detached, folder)
        os.close(folder)
        for place, (path, kind, number, mode, uid, gid) in enumerate(_devices(setup)):
            name = str(place)
            os.mknod(name, kind | mode, number, dir_fd=detached)
            os.chown(name, uid, gid, dir_fd=detached)
            tree = m.open_tree(detached, name, m.OPEN_TREE_CLONE)
            tell(sock, {"device": path}, (tree,))
            os.close(tree)
    except OSError as e:
        raise SetupError.of(e, "make devices") from None


def _devices(setup: TaskSetup) -> Iterator[tuple[str, int, int, int, int, int]]:
    linux = setup.spec["linux"]
    uids, gids = linux.get("uidMappings") or [], linux.get("gidMappings") or []
    root = _root_ids(setup)
    for name, major, minor in rootfs.DEFAULT_DEVICES:
        yield f"/dev/{name}", stat.S_IFCHR, os.makedev(major, minor), 0o666, *root
    for path, kind, number, mode, uid, gid in rootfs.devices(setup.spec):
        outside = host_id(uids, uid), host_id(gids, gid)
        yield path, kind, number, mode, *(outside if -1 not in outside else root)
