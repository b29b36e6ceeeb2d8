"""A container's root as the container sees it, opened in a worker process and seen by nobody else.

Of a running container the root mount and the user's mounts are cloned out of its own mount namespace: what
is read and written is what it has at this moment. Of a stopped one the overlay and the mounts are made for
the occasion. Kernel file systems (/proc, /sys, /dev) are never part of it: below their mount points is what
image and container have there.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TypedDict

from corten.linux import mounts, seqpacket
from corten.linux.idmap import host_id, user_namespace
from corten.linux.mapped_overlay import FilesystemIds, open_mapped_overlay
from corten.linux.namespaces import CLONE_NEWNS, CLONE_NEWUSER, setns
from corten.linux.openat2 import open_in_root
from corten.snapshots import uppers
from corten.snapshots.overlay import enter_private_mounts, open_overlay
from corten.task.mount_options import SUBPATH, MountOptions
from corten.task.operations.binds import BindMount
from corten.task.operations.root import Root


class Maps(TypedDict):
    """OCI's uidMappings and gidMappings."""

    uids: list[dict[str, int]]
    gids: list[dict[str, int]]


class ViewMount(TypedDict):
    """A mount of the user's: a path of the host (or what is at `subpath` below it), a path inside.

    layers: instead of a source, an image's, uppermost first. maps: from ids on the disk to those that are
    seen; None = the same.
    """

    source: str
    layers: list[str]
    destination: str
    read_only: bool
    recursive: bool
    subpath: str
    maps: Maps | None


class View(TypedDict):
    """What the engine says of a container. Paths but `destination` are the engine's own.

    mountpoint: any directory to mount on, in our own namespace. lower: uppermost first. maps: of the
    container's user namespace, if it has one.
    """

    mountpoint: str
    lower: list[str]
    upper: str
    work: str
    mounts: list[ViewMount]
    maps: Maps | None


def open_view(view: View, namespace: int | None, *, writable: bool = False) -> int:
    """An fd of the root with the user's mounts in it.

    For a container with a user namespace this process enters one with the same ids: from then on it sees
    the ids that the container sees, and has no more rights than root has there.
    namespace: the container's mount namespace while it runs. writable: needed for stopped containers only,
    which must not be started meanwhile; without it everything done to their root is forgotten.
    """
    enter_private_mounts()
    ids = _Ids(view["maps"])
    if namespace is not None:
        fd = _open_running(view, namespace)
    else:
        fd = _open_stopped(view, ids, writable=writable)
        with FilesystemIds(*ids.root):
            _bind_all(fd, view, ids)
    ids.enter()
    return fd


class _Ids:
    """Those of the container: the host's, or what its maps say."""

    def __init__(self, maps: Maps | None) -> None:
        self.userns_fd, self.root = -1, (0, 0)
        if maps is not None:
            self.userns_fd = user_namespace(maps["uids"], maps["gids"])
            self.root = host_id(maps["uids"], 0), host_id(maps["gids"], 0)

    def overlay(
        self, lower: list[str], mountpoint: str, *, upper: str = "", work: str = "", volatile: bool
    ) -> int:
        """As `open_overlay`, with these ids."""
        if self.userns_fd < 0:
            return open_overlay(lower, mountpoint, upper=upper, work=work, volatile=volatile)
        return open_mapped_overlay(
            lower,
            mountpoint,
            userns_fd=self.userns_fd,
            root=self.root,
            upper=upper,
            work=work,
            volatile=volatile,
        )

    def enter(self) -> None:
        """See with them. There is no way back."""
        if self.userns_fd >= 0:
            setns(self.userns_fd, CLONE_NEWUSER)
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)


def _bind_all(root_fd: int, view: View, ids: _Ids) -> None:
    root = Root()
    root.fd = root_fd
    for mount in sorted(view["mounts"], key=_depth):
        source, maps = mount["source"], mount["maps"]
        if mount["layers"]:
            layers = ids.overlay(mount["layers"], view["mountpoint"], volatile=True)
            source = f"/proc/self/fd/{layers}"
        userns_fd = -1 if maps is None else user_namespace(maps["uids"], maps["gids"])
        bind = BindMount(source, mount["destination"], MountOptions(_options(mount)), userns_fd)
        try:
            bind.prepare()
        except FileNotFoundError:
            continue  # made when the container starts, or gone: either way nothing to see
        bind.apply(root)


def open_root(view: View, namespace: int | None) -> int:
    """An fd of the root without any mounts: image and changes, for reading."""
    enter_private_mounts()
    ids = _Ids(view["maps"])
    if namespace is not None:
        fd = clone_mounts(namespace, [])[0]
    else:
        fd = ids.overlay([view["upper"], *view["lower"]], view["mountpoint"], volatile=True)
    ids.enter()
    return fd


def mount_of(view: View, path: str) -> ViewMount | None:
    """The innermost mount that `path` (absolute, resolved) lies in."""
    found = [
        mount
        for mount in view["mounts"]
        if path == mount["destination"] or path.startswith(mount["destination"].rstrip("/") + "/")
    ]
    return max(found, key=lambda mount: len(mount["destination"]), default=None)


def clone_mounts(namespace: int, destinations: Sequence[str]) -> tuple[int, list[tuple[str, int]]]:
    """Detached clones of a mount namespace's root and of what is mounted on `destinations` there.

    A child process enters the namespace, resolves the destinations inside and hands the clones out; it
    imports and executes nothing there. What is not there is left out.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ours.close()
            _send_clones(theirs, namespace, destinations)
            code = 0
        except OSError as e:
            code = e.errno or code
        finally:
            os._exit(code)
    theirs.close()
    found: list[tuple[str, int]] = []
    with ours:
        while True:
            data, fds = seqpacket.receive(ours)
            if not data:
                break
            found.append((os.fsdecode(data), fds[0]))
    _, status = os.waitpid(child, 0)
    if status or not found:
        number = os.waitstatus_to_exitcode(status) or errno.EIO
        raise OSError(number, f"cannot enter the container's mount namespace: {os.strerror(abs(number))}")
    return found[0][1], found[1:]


def _send_clones(channel: socket.socket, namespace: int, destinations: Sequence[str]) -> None:
    setns(namespace, CLONE_NEWNS)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = mounts.open_tree(mounts.AT_FDCWD, "/", mounts.OPEN_TREE_CLONE)
    seqpacket.send(channel, b"/", [tree])
    flags = mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE | mounts.AT_EMPTY_PATH
    for destination in destinations:
        try:
            fd = open_in_root(root, destination, os.O_PATH)
        except OSError:
            continue
        tree = mounts.open_tree(fd, b"", flags)
        seqpacket.send(channel, os.fsencode(destination), [tree])
        os.close(tree)
        os.close(fd)


def _open_running(view: View, namespace: int) -> int:
    destinations = [mount["destination"] for mount in sorted(view["mounts"], key=_depth)]
    tree, inner = clone_mounts(namespace, destinations)
    target = os.open(view["mountpoint"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.mount_setattr(tree, propagation=mounts.MS_PRIVATE)
    mounts.move_mount(tree, target)
    os.close(target)
    root = Root()
    root.fd = tree
    for destination, clone in inner:
        BindMount("", destination, MountOptions([]), tree=clone).apply(root)
    return tree


def _open_stopped(view: View, ids: _Ids, *, writable: bool) -> int:
    lower, mountpoint = view["lower"], view["mountpoint"]
    if writable:
        return ids.overlay(lower, mountpoint, upper=view["upper"], work=view["work"], volatile=False)
    if not view["mounts"]:
        return ids.overlay([view["upper"], *lower], mountpoint, volatile=True)
    # Mount points that are missing are made, in memory.
    mounts.mount("tmpfs", mountpoint, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=700")
    scratch = uppers.prepare(mountpoint, [view["upper"], *lower])
    merged = os.path.join(mountpoint, "merged")
    os.mkdir(merged)
    return ids.overlay([view["upper"], *lower], merged, upper=scratch.upper, work=scratch.work, volatile=True)


def _options(mount: ViewMount) -> list[str]:
    words = ["rbind" if mount["recursive"] else "bind", "rprivate"]
    if mount["read_only"]:
        words.append("ro")
    if mount["subpath"]:
        words.append(f"{SUBPATH}{mount['subpath']}")
    return words


def _depth(mount: Mapping[str, object]) -> int:
    return str(mount["destination"]).rstrip("/").count("/")
