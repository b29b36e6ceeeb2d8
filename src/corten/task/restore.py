"""Bringing a task back from a checkpoint: criu makes its processes, we put in place what it is to find.

A child of the launcher becomes criu, in the task's cgroup and in a mount namespace with the task's root and
its cgroups' file systems; criu restores the processes, whose parent the launcher is then, as their subreaper,
and ends. Source: criu(8), "restore".
"""

from __future__ import annotations

import fcntl
import os

from corten.linux import loopback
from corten.linux import mounts as m
from corten.linux import namespaces as ns
from corten.linux.process import clone3, close_all_but
from corten.linux.syscalls import PR_SET_DUMPABLE, prctl
from corten.task import init
from corten.task.operations.rootfilesystem import mount_overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from corten.task.setup import TaskSetup

_FIRST_FD = 10  # criu's own are below


def launch(setup: TaskSetup, restore: dict[str, Any], work: str, netns_fd: int) -> tuple[int, int]:
    """(pid, pidfd) of criu. It writes `pid` and `restore.log` into the directory `work`. Raises OSError."""
    pid, pidfd = clone3(ns.CLONE_NEWNS)
    if pid == 0:
        _run(setup, restore, work, netns_fd)
    return pid, pidfd


def _run(setup: TaskSetup, restore: dict[str, Any], work: str, netns_fd: int) -> NoReturn:
    try:
        prctl(PR_SET_DUMPABLE, 0)
        os.umask(0o077)
        init.reset_signals()
        _enter_cgroup(setup)
        _become_criu(setup, restore, work, _place(setup, netns_fd))
    except BaseException as e:
        with open(f"{work}/restore.log", "w") as log:
            log.write(f"(00.000000) Error (corten): {type(e).__name__}: {e}\n")
    finally:
        os._exit(1)
    raise SystemExit(1)  # unreachable; for the type checker


def _namespaces(setup: TaskSetup) -> set[str]:
    return {namespace["type"] for namespace in setup.spec["linux"].get("namespaces") or ()}


def _enter_cgroup(setup: TaskSetup) -> None:
    assert setup.cgroups is not None
    setup.cgroups.join_self(setup.cgroup_path)
    if "cgroup" in _namespaces(setup):
        ns.unshare(ns.CLONE_NEWCGROUP)  # criu's, and so the restored processes'


def _place(setup: TaskSetup, netns_fd: int) -> list[int]:
    """stdio and the network's namespace, from _FIRST_FD on; /dev/null as our own stdio; all else closed."""
    assert setup.stdio is not None
    sources = [*setup.stdio, *([netns_fd] if netns_fd >= 0 else [])]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, _FIRST_FD + len(sources)) for fd in sources]
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    for place, fd in enumerate(high):
        os.dup2(fd, _FIRST_FD + place)
    placed = [_FIRST_FD + place for place in range(len(high))]
    close_all_but(*placed)
    return placed


def _become_criu(setup: TaskSetup, restore: dict[str, Any], work: str, fds: list[int]) -> None:
    assert setup.overlay is not None
    if "network" in _namespaces(setup) and len(fds) == 3:
        ns.unshare(ns.CLONE_NEWNET)
        loopback.up()
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        os.dup2(own, _FIRST_FD + 3)
        fds.append(_FIRST_FD + 3)
        os.close(own)
    m.mount(None, "/", None, m.MS_REC | m.MS_PRIVATE)
    m.mount("tmpfs", setup.mountpoint, "tmpfs", 0, "mode=700")
    root = f"{setup.mountpoint}/root"
    os.mkdir(root)
    mount_overlay(
        setup.overlay["lower"],
        setup.overlay["upper"],
        setup.overlay["work"],
        root,
        setup.overlay.get("volatile", False),
    )
    arguments = ["--root", root, "--images-dir", restore["images"], "--work-dir", work, *restore["flags"]]
    for external in restore["externals"]:
        destination = external["destination"]
        arguments += ["--external", f"mnt[{destination}]:{_source(setup, destination, external['kind'])}"]
    for fd, name in zip(fds, [*restore["stdio"], "extRootNetNS"], strict=False):
        os.set_inheritable(fd, True)
        arguments += ["--inherit-fd", f"fd[{fd}]:{name}"]
    program: str = restore["program"]
    log = ["-v2", "--log-file", "restore.log", "--pidfile", "pid", "--restore-detached"]
    os.execve(program, [program, "restore", *arguments, *log], dict(os.environ))


def _source(setup: TaskSetup, destination: str, kind: str) -> str:
    """What now stands for a mount from outside of the container."""
    if kind == "null":
        return "/dev/null"
    if kind == "cgroup":
        return _cgroup(setup, destination)
    for mount in setup.spec.get("mounts") or ():
        if mount["destination"] == destination:
            return str(mount["source"])
    raise OSError(2, "the checkpoint has a mount that the container has not", destination)


def _cgroup(setup: TaskSetup, destination: str) -> str:
    """The cgroup file system that belongs at `destination`, mounted for the occasion."""
    assert setup.cgroups is not None
    name = destination.rpartition("/")[2]
    path = f"{setup.mountpoint}/cgroup-{name}"
    os.mkdir(path)
    for directory, options in setup.cgroups.hierarchies():
        if not directory:
            m.mount("cgroup", path, "cgroup2")
            return path
        if directory == name:
            m.mount("cgroup", path, "cgroup", 0, options)
            return path
    raise OSError(2, "there is no such cgroup hierarchy", name)
