"""Bringing a further process into a running task: what `docker exec` does."""

from __future__ import annotations

import os
import socket

from corten.linux import namespaces as ns
from corten.linux.idmap import host_id, read_id_map
from corten.linux.process import clone3, close_all_but
from corten.linux.seccomp.install import FLAG_SPEC_ALLOW
from corten.linux.syscalls import PR_SET_DUMPABLE, prctl
from corten.task import channel, credentials, init, program, terminal
from corten.task.channel import SetupError, tell_error
from corten.task.launch import Launched, Visit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from corten.linux.cgroups.protocol import CgroupManager

_NAMESPACES = ns.CLONE_NEWIPC | ns.CLONE_NEWUTS | ns.CLONE_NEWNET | ns.CLONE_NEWCGROUP | ns.CLONE_NEWNS


class JoinSetup:
    """What a process that joins a task needs to know. `process` is OCI; `stdio` None with a terminal."""

    __slots__ = (
        "cgroup_path",
        "cgroups",
        "keep_fds",
        "nofile",
        "process",
        "seccomp",
        "seccomp_flags",
        "stdio",
        "task_pid",
        "task_pidfd",
    )

    def __init__(
        self,
        task_pid: int,
        task_pidfd: int,
        process: dict[str, Any],
        *,
        cgroups: CgroupManager | None,
        cgroup_path: str,
        stdio: tuple[int, int, int] | None,
        seccomp: bytes | None,
        seccomp_flags: int = FLAG_SPEC_ALLOW,
        nofile: tuple[int, int] | None = None,
        keep_fds: int = 0,
    ) -> None:
        self.task_pid, self.task_pidfd, self.process = task_pid, task_pidfd, process
        self.cgroups, self.cgroup_path = cgroups, cgroup_path
        self.stdio, self.seccomp, self.seccomp_flags = stdio, seccomp, seccomp_flags
        self.nofile, self.keep_fds = nofile, keep_fds


def namespaces_of(pid: int) -> int:
    """CLONE_NEW* of the namespaces to enter: the user namespace only if it is not our own, which fails."""
    if os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        return _NAMESPACES
    return _NAMESPACES | ns.CLONE_NEWUSER


def join(setup: JoinSetup) -> Launched:
    """Clone a process into the task. Raises SetupError; ESRCH if the task is gone."""
    try:
        flags = namespaces_of(setup.task_pid)
        pid_ns = ns.open_namespace(setup.task_pid, "pid")
        cgroup_fd = None
        try:
            mine, theirs = channel.pair()
            cgroup_fd = None if setup.cgroups is None else setup.cgroups.clone_fd(setup.cgroup_path)
            with Visit([("pid", pid_ns)]):
                pid, pidfd = clone3(0, cgroup_fd=cgroup_fd)
                if pid == 0:
                    _run(setup, flags, theirs)
            theirs.close()
        finally:
            os.close(pid_ns)
            if cgroup_fd is not None:
                os.close(cgroup_fd)
        return Launched(pid, pidfd, mine)
    except OSError as e:
        raise SetupError.of(e, "join container") from None


def _run(setup: JoinSetup, flags: int, sock: socket.socket) -> NoReturn:
    try:
        init.forget_importing()
        program.become(*enter(setup, flags, sock))
    except SetupError as e:
        tell_error(sock, e)
    except BaseException as e:
        tell_error(sock, SetupError(5, "internal", f"{type(e).__name__}: {e}"))
    finally:
        os._exit(1)
    raise SystemExit(1)  # unreachable; for the type checker


def _give_stdio(setup: JoinSetup, flags: int) -> None:
    uid = (setup.process.get("user") or {}).get("uid", 0)
    if flags & ns.CLONE_NEWUSER:
        uid = host_id(read_id_map(setup.task_pid, "uid"), uid)
    stdio = setup.stdio
    if uid and stdio is not None:
        init.step("give stdio to its user", lambda: credentials.own_stdio(stdio, uid))


def enter(setup: JoinSetup, flags: int, sock: socket.socket) -> program.Program:
    """Join the task, in the new process; returns the program to become. Raises SetupError, OSError."""
    process = setup.process
    os.setsid()
    init.reset_signals()
    # From here on processes of the container may see us: they must not ptrace us or open our fds.
    prctl(PR_SET_DUMPABLE, 0)
    init.step("set labels", lambda: credentials.set_labels(process))
    credentials.write_oom_score_adj(process)
    credentials.check_supported(process)
    if setup.cgroups is not None:
        cgroups, path = setup.cgroups, setup.cgroup_path
        init.step("join cgroup", lambda: cgroups.join_self(path))
    if not setup.keep_fds:
        # Processes of the container can stop us: then nobody else's pipes may be stuck with us.
        close_all_but(sock.fileno(), setup.task_pidfd, *(setup.stdio or ()))
    _give_stdio(setup, flags)
    init.step("join namespaces", lambda: ns.setns(setup.task_pidfd, flags))
    if flags & ns.CLONE_NEWUSER:
        init.step("become root of the user namespace", init.become_root)
    if process.get("terminal"):
        root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        init.step("open terminal", lambda: terminal.set_up(process, sock, root_fd))
    elif setup.stdio is not None:
        for number, fd in enumerate(setup.stdio):
            os.dup2(fd, number)
    return init.finish(process, sock, setup.seccomp, setup.seccomp_flags, setup.nofile, setup.keep_fds)
