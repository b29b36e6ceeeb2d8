"""A process that makes further processes of tasks in the supervisor's name, without copying any memory.

It is a fork of the supervisor, and has its warm interpreter. Each process that it makes joins the task while
it runs on the nursery's own memory (`corten.linux.vfork`), so one is made at a time. Requests:

    {"process", "pid", "flags", "cgroup", "seccomp", "nofile"} + the task's pidfd, the new process's end of
    its status channel (`corten.task.channel`), its stdio

There is no answer but what comes through the status channel. When that has ended without an error, the
supervisor asks the kernel whether the process, its own child, has come to execve; who it is, the kernel has
noted in memory that both see. If it has not, the nursery ends over it too, and another way is taken: others
of its pid namespace may have killed it, or the kernel has chosen it when the task's memory ran out (and with
it kills all who share its memory: __oom_kill_process).
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
from corten.linux.vfork import ExecveFailed, LastMade, Unfinished, Vfork
from corten.task import channel, init, join, program
from corten.task.channel import SetupError
from corten.task.filters import SeccompCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SIGKILL = 9


def start(made: LastMade) -> tuple[int, int, socket.socket]:
    """A nursery's pid, pidfd and socket. It ends with the socket, and with us.

    made: who is made is noted there.
    """
    mine, theirs = channel.pair()
    pid, pidfd = clone3(0, silent=True)
    if pid == 0:
        _run(theirs, made)
    theirs.close()
    return pid, pidfd, mine


def _run(sock: socket.socket, made: LastMade) -> NoReturn:
    try:
        prctl(PR_SET_PDEATHSIG, _SIGKILL)
        prctl(PR_SET_DUMPABLE, 0)
        set_process_name("corten-nursery")
        init.forget_importing()
        close_all_but(sock.fileno())
        gc.enable()  # the supervisor has none, but we live as long
        _Nursery(made).serve(sock)
    except Unfinished:
        pass
    finally:
        os._exit(1)
    raise SystemExit(1)  # unreachable; for the type checker


def _told(error: BaseException) -> SetupError:
    if isinstance(error, SetupError):
        return error
    if isinstance(error, ExecveFailed):
        return program.failure(error.path, error.errno or errno.EIO)
    return SetupError(errno.EIO, "internal", f"{type(error).__name__}: {error}")


class _Nursery:
    def __init__(self, made: LastMade) -> None:
        self._vfork = Vfork(made)
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
                error = self._vfork.spawn(lambda: join.enter(setup, flags, status))
            finally:
                ns.setns(self._own, ns.CLONE_NEWPID)
            if error is not None:
                channel.tell_error(status, _told(error))
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
