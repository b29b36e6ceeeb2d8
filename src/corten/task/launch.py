"""The parent's side of starting a task: cgroup, namespaces, clone3, and the talk with the child."""

from __future__ import annotations

import os
import socket

from corten.linux import namespaces as ns
from corten.linux.idmap import host_id, owner_of, user_namespace
from corten.linux.process import CLONE_PARENT, clone3, end
from corten.linux.syscalls import PR_SET_DUMPABLE, prctl
from corten.task import channel, credentials, init, prepared
from corten.task.channel import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, TypeVar

    from corten.task.setup import TaskSetup

    _Made = TypeVar("_Made")

# In this order: the pid namespace only concerns children, the others concern us until we are back.
_JOINABLE = ("network", "ipc", "uts", "cgroup", "pid")


class Launched:
    """A process on its way to execve(2). `sock` is our end of its status channel.

    helper: (pid, pidfd) of a child of ours that works for it until then (`corten.task.prepared`).
    free_maker: if another process makes it in our name, until when pid and pidfd are -1: what to do now and
    then while that lasts.
    """

    __slots__ = ("free_maker", "helper", "pid", "pidfd", "sock")

    def __init__(
        self, pid: int, pidfd: int, sock: socket.socket, free_maker: Callable[[], None] | None = None
    ) -> None:
        self.pid, self.pidfd, self.sock, self.free_maker = pid, pidfd, sock, free_maker
        self.helper: tuple[int, int] | None = None

    def end_helper(self) -> None:
        """The process has become its program, or failed."""
        if self.helper is not None:
            (pid, pidfd), self.helper = self.helper, None
            end(pid, pidfd)
            os.close(pidfd)


class Visit:
    """Enter other namespaces for the time of a clone, so that the child is born into them."""

    __slots__ = ("_joins", "_left")

    def __init__(self, joins: list[tuple[str, int]]) -> None:
        self._joins = joins
        self._left: list[tuple[str, int]] = []

    def __enter__(self) -> None:
        try:
            for kind, fd in self._joins:
                self._left.append((kind, ns.open_namespace("self", ns.TYPES[kind][1])))
                ns.setns(fd, ns.TYPES[kind][0])
        except OSError:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        while self._left:
            kind, own = self._left.pop()
            ns.setns(own, ns.TYPES[kind][0])
            os.close(own)


def _plan_namespaces(setup: TaskSetup, netns_fd: int, opened: list[int]) -> list[tuple[str, int]]:
    """Namespaces to join as (type, fd); those fds that are the caller's to close are added to `opened`.

    Sets setup.new_flags.
    """
    joins: list[tuple[str, int]] = []
    for namespace in (setup.spec.get("linux") or {}).get("namespaces") or ():
        kind, path = namespace["type"], namespace.get("path")
        if kind not in ns.TYPES:
            raise OSError(22, f"unknown namespace type {kind!r}", kind)
        if kind == "user":
            setup.userns_fd = _user_namespace(setup, path, netns_fd)
            opened.append(setup.userns_fd)
        elif kind == "network" and netns_fd >= 0:
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
    return joins


def _user_namespace(setup: TaskSetup, path: str | None, netns_fd: int) -> int:
    """That of the path, else the one that rules the network we are given, else a new one."""
    if path:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if netns_fd >= 0:
        return owner_of(netns_fd)
    linux: dict[str, Any] = setup.spec["linux"]
    return user_namespace(linux.get("uidMappings") or [], linux.get("gidMappings") or [])


def _make_idmaps(setup: TaskSetup, opened: list[int]) -> None:
    """User namespaces for the id-mapped mounts."""
    for place, mount in enumerate(setup.spec.get("mounts") or ()):
        if mount.get("uidMappings"):
            fd = user_namespace(mount["uidMappings"], mount.get("gidMappings") or [])
            opened.append(fd)
            setup.idmaps[place] = fd


def launch(setup: TaskSetup, *, netns_fd: int = -1) -> Launched:
    """Clone the task's init. The cgroup of `setup` must exist. Raises SetupError.

    The child may ask for its cgroup: answer what comes through the channel until it ends.
    """

    def clone(joins: list[tuple[str, int]]) -> Launched:
        return _launch_inside(setup, joins) if setup.userns_fd >= 0 else _launch(setup, joins)

    return planned(setup, netns_fd, clone)


def planned(setup: TaskSetup, netns_fd: int, clone: Callable[[list[tuple[str, int]]], _Made]) -> _Made:
    """Call `clone` with what to `Visit` for it; all else is in `setup` by then. Raises SetupError."""
    opened: list[int] = []
    try:
        joins = _plan_namespaces(setup, netns_fd, opened)
        if setup.seccomp is None:
            setup.seccomp, setup.seccomp_flags = init.compile_seccomp(setup.spec)
        _make_idmaps(setup, opened)
        return clone(joins)
    except OSError as e:
        raise SetupError.of(e, "create container process") from None
    finally:
        for fd in opened:
            os.close(fd)


def _launch(setup: TaskSetup, joins: list[tuple[str, int]]) -> Launched:
    cgroup_fd = None if setup.cgroups is None else setup.cgroups.clone_fd(setup.cgroup_path)
    try:
        mine, theirs = channel.pair()
        with Visit(joins):
            pid, pidfd = clone3(setup.new_flags, cgroup_fd=cgroup_fd)
            if pid == 0:
                init.run(setup, theirs)
        theirs.close()
        return Launched(pid, pidfd, mine)
    finally:
        if cgroup_fd is not None:
            os.close(cgroup_fd)


def _launch_inside(setup: TaskSetup, joins: list[tuple[str, int]]) -> Launched:
    """Clone an init that is born into `setup.userns_fd`, and the helper that opens for it what is the host's.

    Who enters a user namespace does not come back, so a child does and clones in our name (CLONE_PARENT).
    """
    mine, theirs = channel.pair()
    ours, doors = channel.pair()
    helpers, setup.preparing = channel.pair()
    try:
        helper, helper_fd = clone3(ns.CLONE_NEWNS)
        if helper == 0:
            prepared.run(setup, helpers)
        helpers.close()
        try:
            door, door_fd = clone3(0)
            if door == 0:
                _through_the_door(setup, joins, theirs, doors)
            doors.close()
            try:
                message, fds = channel.hear(ours)
            finally:
                os.waitpid(door, 0)
                os.close(door_fd)
            if message is None:
                raise OSError(5, "nothing came through the door", "clone3")
        except BaseException:
            end(helper, helper_fd)
            os.close(helper_fd)
            raise
        launched = Launched(message["init"], fds[0], mine)
        launched.helper = (helper, helper_fd)
        return launched
    finally:
        for sock in (theirs, ours, doors, helpers, setup.preparing):
            sock.close()


def _through_the_door(
    setup: TaskSetup, joins: list[tuple[str, int]], theirs: socket.socket, doors: socket.socket
) -> NoReturn:
    try:
        prctl(PR_SET_DUMPABLE, 0)
        os.chdir(setup.root_target)  # by its path it is not to be reached from inside
        for kind, fd in joins:
            ns.setns(fd, ns.TYPES[kind][0])
        if setup.stdio is not None:
            linux, user = setup.spec["linux"], setup.spec["process"].get("user") or {}
            credentials.own_stdio(setup.stdio, host_id(linux.get("uidMappings") or [], user.get("uid", 0)))
        credentials.write_oom_score_adj(setup.spec["process"])  # of its own file init will not be the owner
        ns.setns(setup.userns_fd, ns.CLONE_NEWUSER)
        init.become_root()  # what comes with new namespaces, as /dev/mqueue, is then its own
        pid, pidfd = clone3(setup.new_flags | CLONE_PARENT)
        if pid == 0:
            init.run(setup, theirs)
        channel.tell(doors, {"init": pid}, (pidfd,))
    except OSError as e:
        channel.tell_error(doors, SetupError.of(e, "create container process"))
    finally:
        os._exit(0)
    raise SystemExit(1)  # unreachable; for the type checker


def join_cgroup(setup: TaskSetup, pid: int) -> None:
    """Answer a child's "cgroup"."""
    if setup.cgroups is not None:
        setup.cgroups.join(setup.cgroup_path, pid)
