"""User namespaces without processes, and mounts that show other owners than the disk has.

Maps are in OCI's words: {"containerID", "hostID", "size"}. Whoever calls is single-threaded, see
`corten.linux.process`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

from corten.linux import mounts as m
from corten.linux.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWUSER,
    open_namespace,
    setns,
    unshare,
    write_id_map,
)
from corten.linux.process import clone3, end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Maps: TypeAlias = list[dict[str, int]]

_NS_GET_USERNS = 0xB701  # ioctl_ns(2)


def user_namespace(uids: Maps, gids: Maps) -> int:
    """An fd of a new user namespace with these maps.

    For a mount, containerID is the id on the disk and hostID the id that is seen. Raises OSError for maps
    that are none.
    """
    return _namespaces(CLONE_NEWUSER, uids, gids, "user")


def owned_network(uids: Maps, gids: Maps) -> int:
    """An fd of a new network namespace that belongs to a new user namespace with these maps (`owner_of`).

    Whoever is root in the latter rules the former. Raises OSError.
    """
    return _namespaces(CLONE_NEWUSER | CLONE_NEWNET, uids, gids, "net")


def network_in(userns_fd: int) -> int:
    """As `owned_network`, but of a user namespace that is there already."""
    heard, told = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = clone3(0)
    if pid == 0:
        try:
            setns(userns_fd, CLONE_NEWUSER)
            unshare(CLONE_NEWNET)
            os.write(told, b"!")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(told)
    try:
        if not os.read(heard, 1):
            raise OSError(errno.EPERM, "no network can be made in the user namespace")
        return open_namespace(pid, "net")
    finally:
        os.close(heard)
        end(pid, pidfd)
        os.close(pidfd)


def _namespaces(flags: int, uids: Maps, gids: Maps, wanted: str) -> int:
    pid, pidfd = clone3(flags)
    if pid == 0:
        while True:
            signal.pause()
    try:
        write_id_map(pid, "uid", uids)
        write_id_map(pid, "gid", gids)
        return open_namespace(pid, wanted)
    finally:
        end(pid, pidfd)
        os.close(pidfd)


def owner_of(namespace_fd: int) -> int:
    """An fd of the user namespace that a namespace belongs to."""
    return fcntl.ioctl(namespace_fd, _NS_GET_USERNS)


def read_id_map(pid: int, kind: str) -> Maps:
    """The uid or gid map (`kind`) of a process's user namespace, outside ids as we see them."""
    with open(f"/proc/{pid}/{kind}_map") as file:
        rows = [[int(word) for word in line.split()] for line in file]
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in rows]


def host_id(maps: Maps, inside: int) -> int:
    """The id outside of what is `inside` there; -1 if it is not mapped."""
    for entry in maps:
        offset = inside - entry["containerID"]
        if 0 <= offset < entry["size"]:
            return entry["hostID"] + offset
    return -1


def mapped_tree(path: str, userns_fd: int) -> int:
    """A detached clone of one mount from `path` on, with the ids of a user namespace (Linux 5.12).

    Raises OSError; EINVAL if the file system cannot do it.
    """
    tree = m.open_tree(m.AT_FDCWD, path, m.OPEN_TREE_CLONE)
    try:
        m.mount_setattr(tree, set_flags=m.MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
    except OSError as e:
        os.close(tree)
        raise OSError(e.errno, f"its file system cannot be id-mapped: {e.strerror}", path) from None
    return tree
