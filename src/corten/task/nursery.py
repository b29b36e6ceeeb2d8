"""A process that makes processes of tasks in the supervisor's name, without copying any memory.

It is a fork of the supervisor, and has its warm interpreter. Each process that it makes goes its way while
it runs on the nursery's own memory (`corten.linux.vfork`), so one is made at a time. Requests:

    {"spec", "overlay", "mountpoint", "cgroup", "seccomp", "nofile", "joins_network"} + the init's end of its
    status channel (`corten.task.channel`), its stdio (none with a terminal), the network namespace to join

    {"process", "pid", "flags", "cgroup", "seccomp", "nofile"} + the new process's end of its status channel,
    its stdio (none with a terminal), the task's pidfd

There is no answer but what comes through the status channel. Who the process is, a child of the supervisor's,
the kernel has noted in memory that both see. When the channel has ended without an error, the supervisor asks
the kernel whether a further process of a task has come to execve. If it has not, the nursery ends over it
too, and another way is taken: others of its pid namespace may have killed it, or the kernel has chosen it
when the task's memory ran out (and with it kills all who share its memory: __oom_kill_process).
"""

from __future__ import annotations

import errno
import gc
import json
import os
import socket

from corten.linux import cgroups, seqpacket
from corten.linux.process import clone3, close_all_but
from corten.linux.syscalls import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, prctl, set_process_name
from corten.linux.vfork import ExecveFailed, LastMade, Unfinished, Vfork
from corten.task import channel, init, join, launch, program
from corten.task.channel import SetupError
from corten.task.filters import SeccompCache
from corten.task.setup import TaskSetup

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
        gc.freeze()  # what the supervisor has left: its sockets' numbers are others' by now
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
        with socket.socket(fileno=fds.pop(0)) as status:
            stdio = (fds[0], fds[1], fds[2]) if len(fds) > 2 else None
            make = self._make_exec if "process" in request else self._make_init
            try:
                error = make(request, status, stdio, fds[-1] if fds else -1)
            except OSError as e:
                error = SetupError.of(e, "join container")
            except SetupError as e:
                error = e
            if error is not None:
                channel.tell_error(status, _told(error))

    def _make_init(
        self,
        request: dict[str, Any],
        status: socket.socket,
        stdio: tuple[int, int, int] | None,
        last: int,
    ) -> BaseException | None:
        setup = TaskSetup(
            request["spec"],
            overlay=request["overlay"],
            mountpoint=request["mountpoint"],
            cgroups=self._cgroups,
            cgroup_path=request["cgroup"],
            stdio=stdio,
            seccomp=self._seccomp.get(request["seccomp"]),
            held=True,
            nofile=tuple(request["nofile"]),
        )

        def enter() -> program.Program:
            channel.tell(status, {"born": 1})
            return init.enter(setup, status)

        def clone(joins: list[tuple[str, int]]) -> BaseException | None:
            with launch.Visit(joins):
                return self._vfork.spawn(enter, setup.new_flags)

        return launch.planned(setup, last if request["joins_network"] else -1, clone)

    def _make_exec(
        self,
        request: dict[str, Any],
        status: socket.socket,
        stdio: tuple[int, int, int] | None,
        task_pidfd: int,
    ) -> BaseException | None:
        setup = join.JoinSetup(
            request["pid"],
            task_pidfd,
            request["process"],
            cgroups=self._cgroups,
            cgroup_path=request["cgroup"],
            stdio=stdio,
            seccomp=self._seccomp.get(request["seccomp"]),
            nofile=tuple(request["nofile"]),
        )
        flags: int = request["flags"]
        with launch.Visit([("pid", task_pidfd)]):
            return self._vfork.spawn(lambda: join.enter(setup, flags, status))
