"""The parent's side of starting a task: cgroup, namespaces, clone3, and the talk with the child."""

from __future__ import annotations

import os
import socket

from corten.linux import namespaces as ns
from corten.linux.idmap import user_namespace
from corten.linux.process import clone3
from corten.task import channel, init
from corten.task.channel import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.task.setup import TaskSetup

# In this order: the pid namespace only concerns children, the others concern us until we are back.
_JOINABLE = ("network", "ipc", "uts", "cgroup", "pid")
_own: dict[str, int] = {}


class Launched:
    """A process on its way to execve(2). `sock` is our end of its status channel."""

    __slots__ = ("pid", "pidfd", "sock")

    def __init__(self, pid: int, pidfd: int, sock: socket.socket) -> None:
        self.pid, self.pidfd, self.sock = pid, pidfd, sock


def _own_namespace(kind: str) -> int:
    if kind not in _own:
        _own[kind] = ns.open_namespace("self", ns.TYPES[kind][1])
    return _own[kind]


class Visit:
    """Enter other namespaces for the time of a clone, so that the child is born into them."""

    __slots__ = ("_joins", "_left")

    def __init__(self, joins: list[tuple[str, int]]) -> None:
        self._joins = joins
        self._left: list[str] = []

    def __enter__(self) -> None:
        for kind, _ in self._joins:
            _own_namespace(kind)
        for kind, fd in self._joins:
            try:
                ns.setns(fd, ns.TYPES[kind][0])
            except OSError:
                self.__exit__()
                raise
            self._left.append(kind)

    def __exit__(self, *_: object) -> None:
        while self._left:
            kind = self._left.pop()
            ns.setns(_own[kind], ns.TYPES[kind][0])


def _plan_namespaces(setup: TaskSetup, netns_fd: int, opened: list[int]) -> list[tuple[str, int]]:
    """Namespaces to join as (type, fd); those fds that are the caller's to close are added to `opened`.

    Sets setup.new_flags.
    """
    joins: list[tuple[str, int]] = []
    for namespace in (setup.spec.get("linux") or {}).get("namespaces") or ():
        kind, path = namespace["type"], namespace.get("path")
        if kind not in ns.TYPES:
            raise OSError(22, f"unknown namespace type {kind!r}", kind)
        if kind == "network" and netns_fd >= 0:
            joins.append((kind, netns_fd))
        elif path:
            if kind not in _JOINABLE:
                raise OSError(95, f"joining a {kind} namespace by path is not supported by Corten yet", path)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            opened.append(fd)
            joins.append((kind, fd))
        elif kind != "cgroup":  # made by the child, once it is in its cgroup
            setup.new_flags |= ns.TYPES[kind][0]
    joins.sort(key=lambda join: _JOINABLE.index(join[0]))
    setup.in_userns = bool(setup.new_flags & ns.CLONE_NEWUSER)
    return joins


def _make_idmaps(setup: TaskSetup, opened: list[int]) -> None:
    """User namespaces for the id-mapped mounts."""
    for place, mount in enumerate(setup.spec.get("mounts") or ()):
        if mount.get("uidMappings"):
            fd = user_namespace(mount["uidMappings"], mount.get("gidMappings") or [])
            opened.append(fd)
            setup.idmaps[place] = fd


def launch(setup: TaskSetup, *, netns_fd: int = -1) -> Launched:
    """Clone the task's init. The cgroup of `setup` must exist. Raises SetupError.

    The child may ask for an id map: `serve()` what comes through the channel until it ends.
    """
    opened: list[int] = []
    try:
        joins = _plan_namespaces(setup, netns_fd, opened)
        if setup.seccomp is None:
            setup.seccomp, setup.seccomp_flags = init.compile_seccomp(setup.spec)
        _make_idmaps(setup, opened)
        mine, theirs = channel.pair()
        cgroup_fd = None if setup.cgroups is None else setup.cgroups.clone_fd(setup.cgroup_path)
        if cgroup_fd is not None:
            opened.append(cgroup_fd)
        with Visit(joins):
            pid, pidfd = clone3(setup.new_flags, cgroup_fd=cgroup_fd)
            if pid == 0:
                init.run(setup, theirs)
        theirs.close()
        return Launched(pid, pidfd, mine)
    except OSError as e:
        raise SetupError.of(e, "create container process") from None
    finally:
        for fd in opened:
            os.close(fd)


def write_id_maps(setup: TaskSetup, pid: int) -> None:
    """Answer a child's "idmap": its maps, and its place in the cgroup."""
    linux: dict[str, Any] = setup.spec["linux"]
    if setup.cgroups is not None:
        setup.cgroups.join(setup.cgroup_path, pid)
    ns.write_id_map(pid, "uid", linux.get("uidMappings") or [])
    ns.write_id_map(pid, "gid", linux.get("gidMappings") or [])
