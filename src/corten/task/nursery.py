"""A process that makes further processes of tasks in the supervisor's name, without copying any memory.

It is a fork of the supervisor, and has its warm interpreter. Each process that it makes joins the task while
it runs on the nursery's own memory (`corten.linux.vfork`), so one is made at a time. Requests:

    {"process", "pid", "flags", "cgroup", "seccomp", "nofile"} + the task's pidfd, the new process's end of
    its status channel (`corten.task.channel`), its stdio

There is no answer but what comes through the status channel: first {"born": 1} + the new process's pidfd.
When the channel has ended without an error, the supervisor asks the kernel whether the process, which is its
own child, has come to execve. If not, the nursery ends over it too, and it is made in another way: others of
its pid namespace may have killed it, or the kernel chose it when the task's memory ran out (and with it killed
all who share its memory: __oom_kill_process).
"""

from __future__ import annotations

import errno
import gc
import json
import os
import socket

from corten.linux import cgroups, seqpacket
from corten.linux import namespaces as ns
from corten.linux.process import clone3, close_all_but
from corten.linux.syscalls import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl, set_process_name
from corten.linux.vfork import ExecveFailed, Unfinished, Vfork
from corten.task import channel, init, join, program
from corten.task.channel import SetupError
from corten.task.filters import SeccompCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SIGKILL = 9


def start() -> tuple[int, int, socket.socket]:
    """A nursery's pid, pidfd and socket. It ends with the socket, and with us."""
    mine, theirs = channel.pair()
    pid, pidfd = clone3(0, silent=True)
    if pid == 0:
        _run(theirs)
    theirs.close()
    return pid, pidfd, mine


def _run(sock: socket.socket) -> NoReturn:
    try:
        prctl(PR_SET_PDEATHSIG, _SIGKILL)
        prctl(PR_SET_DUMPABLE, 0)
        set_process_name("corten-nursery")
        init.forget_importing()
        close_all_but(sock.fileno())
        gc.enable()  # the supervisor has none, but we live as long
        _Nursery().serve(sock)
    except Unfinished:
        pass
    finally:
        os._exit(1)
    raise SystemExit(1)  # unreachable; for the type checker


def _enter(setup: join.JoinSetup, flags: int, status: socket.socket) -> program.Program:
    """In the child. It tells itself who it is: should the nursery die it goes on, and must be known."""
    pidfd = os.pidfd_open(os.getpid())
    channel.tell(status, {"born": 1}, (pidfd,))
    os.close(pidfd)
    return join.enter(setup, flags, status)


def _told(error: BaseException) -> SetupError:
    if isinstance(error, SetupError):
        return error
    if isinstance(error, ExecveFailed):
        return program.failure(error.path, error.errno or errno.EIO)
    return SetupError(errno.EIO, "internal", f"{type(error).__name__}: {error}")


class _Nursery:
    def __init__(self) -> None:
        self._vfork = Vfork()
        self._cgroups = cgroups.manager()
        self._own = ns.open_namespace("self", "pid")
        self._seccomp = SeccompCache()

    def serve(self, sock: socket.socket) -> None:
        while True:
            data, fds = seqpacket.receive(sock)
            if not data:
                return
            try:
                self._make(json.loads(data), fds)
            finally:
                for fd in fds:
                    os.close(fd)

    def _make(self, request: dict[str, Any], fds: list[int]) -> None:
        status = socket.socket(fileno=fds.pop(1))
        try:
            setup = self._setup(request, fds)
            flags: int = request["flags"]
            ns.setns(fds[0], ns.CLONE_NEWPID)
            try:
                child = self._vfork.spawn(lambda: _enter(setup, flags, status))
            finally:
                ns.setns(self._own, ns.CLONE_NEWPID)
            os.close(child.pidfd)
            if child.error is not None:
                channel.tell_error(status, _told(child.error))
        except OSError as e:
            channel.tell_error(status, SetupError.of(e, "join container"))
        finally:
            status.close()

    def _setup(self, request: dict[str, Any], fds: list[int]) -> join.JoinSetup:
        stdio = None
        if len(fds) > 1:
            stdio = (fds[1], fds[2], fds[3])
        soft, hard = request["nofile"]
        return join.JoinSetup(
            request["pid"],
            fds[0],
            request["process"],
            cgroups=self._cgroups,
            cgroup_path=request["cgroup"],
            stdio=stdio,
            seccomp=self._seccomp.get(request["seccomp"]),
            nofile=(soft, hard),
        )
