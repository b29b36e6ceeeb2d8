"""The request "exec": further processes in tasks, our own and those of other OCI runtimes."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod

from corten.linux import pidfd
from corten.supervisor import external, starts
from corten.supervisor.nursery import is_worth_it
from corten.supervisor.peers import Peer, RequestError
from corten.task.channel import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.supervisor import Supervisor
    from corten.supervisor.task import Task
    from corten.task.launch import Launched


class Exec:
    """A further process in a task.

    about: what the engine wants to be told of it again. code: how it ended, None while it runs.
    """

    __slots__ = ("about", "code", "ended_s", "id", "master_fd", "pid", "pidfd", "task_id")

    def __init__(self, request: dict[str, Any], pid: int, fd: int) -> None:
        self.id: str = request["exec_id"]
        self.task_id: str = request["id"]
        self.about: dict[str, Any] = request.get("about") or {}
        self.pid, self.pidfd = pid, fd
        self.master_fd = -1
        self.code: int | None = None
        self.ended_s = 0.0  # by the monotonic clock


class Execs:
    """A handler of the supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._super = supervisor

    def exec(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Start a further process; answered with its pid and our ends of its stdio."""
        task = self._super.task_of(request)
        exec_id: str = request["exec_id"]
        if exec_id in self._super.execs:
            raise RequestError("system", f"exec {exec_id} exists already")
        stdio = None
        if not request.get("terminal"):
            stdio = starts.Stdio(
                stdin=bool(request.get("stdin")),
                stdout=bool(request.get("stdout")),
                stderr=bool(request.get("stderr")),
                null_fd=self._super.null_fd,
            )
        coming = (_Ours if task.runtime is None else _External)(self._super, peer, request, stdio)
        try:
            coming.begin(task)
        except BaseException:
            coming.close()
            raise


class _Coming(ABC):
    """A process on its way; `stdio` is None with a terminal."""

    def __init__(
        self, supervisor: Supervisor, peer: Peer, request: dict[str, Any], stdio: starts.Stdio | None
    ) -> None:
        self._super, self._peer, self._request, self._stdio = supervisor, peer, request, stdio

    @abstractmethod
    def begin(self, task: Task) -> None:
        """Have it made. Raises RequestError."""

    def close(self) -> None:
        """Nothing will come of it."""
        if self._stdio is not None:
            self._stdio.close_child(self._super.null_fd)
            self._stdio.close_ours()

    def _fail(self, error: Exception) -> None:
        self.close()
        self._peer.answer_failure(self._request, error)

    def _run(self, pid: int, fd: int, master_fd: int) -> None:
        """It has become its program: it is an exec from now on."""
        running = Exec(self._request, pid, fd)
        running.master_fd = master_fd
        self._super.execs[running.id] = running
        self._super.watch_exec(running)
        stdio = self._stdio
        if stdio is None:
            self._peer.answer(self._request, {"pid": pid, "fds": ["master"]}, [master_fd])
            return
        named = [("stdin", stdio.stdin), ("stdout", stdio.stdout), ("stderr", stdio.stderr)]
        given = [(name, fd) for name, fd in named if fd >= 0]
        answer = {"pid": pid, "fds": [name for name, _ in given]}
        self._peer.answer(self._request, answer, [fd for _, fd in given])
        stdio.close_ours()


class _Ours(_Coming):
    """Made by the nursery where that may be; by a fork of ours otherwise, and if nothing came of that."""

    _shares = False  # the memory of the nursery
    _master_fd = -1

    def begin(self, task: Task) -> None:
        process_document: dict[str, Any] = self._request["process"]
        starts.give_size(process_document, self._request)
        self._super.seals.exec_comes(task, process_document)
        if is_worth_it(self._super.cgroups) and self._super.seals.allow_sharing(task):
            stdio = None if self._stdio is None else self._stdio.child
            launched = self._super.nursery.launch_exec(self._request, task, stdio, self._super.nofile)
            if launched is not None:
                self._shares = True
                self._wait(launched)
                return
        self._fork(task)

    def _fork(self, task: Task) -> None:
        try:
            launched = starts.clone_exec(
                self._request,
                task,
                self._stdio,
                cgroups=self._super.cgroups,
                seccomp=self._super.seccomp.get(self._request.get("seccomp")),
                nofile=self._super.nofile,
            )
        except SetupError as e:
            raise starts.start_error(e) from None
        self._close_childs_ends()
        self._wait(launched)

    def _wait(self, launched: Launched) -> None:
        starts.PendingStart(
            self._super.loop,
            launched,
            asks=(),
            on_born=lambda: None,
            on_cgroup=lambda: None,
            on_terminal=self._take_master,
            on_ready=lambda: None,
            on_done=lambda: self._done(launched),
            on_failed=lambda error: self._failed(launched, error),
        )

    def _take_master(self, fd: int) -> None:
        self._master_fd = fd

    def _done(self, launched: Launched) -> None:
        if self._shares:
            if not self._super.nursery.has_made(launched):
                self._make_again()
                return
            self._close_childs_ends()
        self._run(launched.pid, launched.pidfd, self._master_fd)

    def _make_again(self) -> None:
        """Without the nursery, which died over it, or with it."""
        self._shares = False
        self._close_master()
        try:
            self._fork(self._super.task_of(self._request))
        except Exception as e:  # it is the loop that we are called by
            self._fail(e)

    def _failed(self, launched: Launched, error: SetupError) -> None:
        if self._shares:
            self._super.nursery.let_go(launched)
        if launched.pid > 0:
            self._super.reaper.end(launched.pid, launched.pidfd)
            os.close(launched.pidfd)
        self._close_master()
        self._fail(starts.start_error(error))

    def _close_master(self) -> None:
        if self._master_fd >= 0:
            os.close(self._master_fd)
        self._master_fd = -1

    def _close_childs_ends(self) -> None:
        if self._stdio is not None:
            self._stdio.close_child(self._super.null_fd)


class _External(_Coming):
    """Through `exec --detach`: the process is left to us, its subreaper."""

    def begin(self, task: Task) -> None:
        assert task.runtime is not None
        request, exec_root = self._request, self._super.exec_root
        program, bundle = external.Program(task.runtime, exec_root), external.Bundle(exec_root, task.id)
        base = f"{bundle.path}/exec-{request['exec_id']}"
        with open(f"{base}.json", "w") as f:
            json.dump(request["process"], f)
        console = external.ConsoleSocket(self._super.loop, exec_root) if self._stdio is None else None
        command = ["exec", "--detach", "--process", f"{base}.json", "--pid-file", f"{base}.pid"]
        if console is not None:
            command += ["--console-socket", console.path]

        def ended(code: int) -> None:
            if console is not None:
                console.close()
            if code:
                why = bundle.why(f"{program.path} exec exited with status {code}")
                self._fail(starts.start_error(external.failure(why)))
                return
            try:
                with open(f"{base}.pid") as f:
                    pid = int(f.read())
                fd = pidfd.pidfd_open(pid)
            except (OSError, ValueError) as e:
                why = f"{program.path} exec told no process: {e}"
                self._fail(starts.start_error(external.failure(why)))
                return
            self._run(pid, fd, -1 if console is None else console.master_fd)

        null = self._super.null_fd
        child = (null, null, null) if self._stdio is None else self._stdio.child
        try:
            external.run(self._super.loop, program.argv(*command, task.id, log=bundle.log), child, ended)
        except OSError as e:
            if console is not None:
                console.close()
            raise starts.start_error(SetupError.of(e, "run another OCI runtime")) from None
        if self._stdio is not None:
            self._stdio.close_child(null)
