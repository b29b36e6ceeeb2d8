"""The supervisor: parent of every container, single-threaded, restartable under the engine's feet.

Requests (op): start, exec, kill, kill_all, resize, pause, resume, stdin, close_stdin, tasks, forget,
ping, shutdown. Events: {"event": "exit", ...}, {"event": "oom", "id": ...}.

A task's exit is told once the process is gone and the log writer has read its output to the end, so
that whoever hears of it finds the whole log.
"""

from __future__ import annotations

import gc
import os
import time

from corten.linux import cgroups, pidfd, seqpacket
from corten.linux.process import exit_code
from corten.supervisor import adoption, starts
from corten.supervisor.companions import Companion
from corten.supervisor.journal import ExitRecord, Journal
from corten.supervisor.loop import READ, Loop
from corten.supervisor.peers import Listener, Peer, RequestError
from corten.supervisor.process import become_daemon, raise_nofile, report
from corten.supervisor.task import Records, Task
from corten.task.channel import SetupError
from corten.task.launch import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.task.setup import TaskSetup

_DRAIN_TIMEOUT_S = 5.0  # output may be held open by a process outside the container's pid namespace

_DROP_DELAY_S = 1.0


class Exec:
    """A further process in a task."""

    __slots__ = ("id", "master_fd", "pid", "pidfd", "task_id")

    def __init__(self, exec_id: str, task_id: str, pid: int, fd: int) -> None:
        self.id, self.task_id, self.pid, self.pidfd = exec_id, task_id, pid, fd
        self.master_fd = -1


class Supervisor:
    """State and request handlers; `run()` is the process's life."""

    def __init__(self, exec_root: str) -> None:
        self.exec_root = exec_root
        self.loop = Loop(report)
        self.cgroups = cgroups.manager()
        self.records = Records(f"{exec_root}/tasks")
        self.journal = Journal(f"{exec_root}/exits")
        self.mountpoint = f"{exec_root}/mnt"
        os.makedirs(self.mountpoint, 0o700, exist_ok=True)
        self.tasks: dict[str, Task] = {}
        self.execs: dict[str, Exec] = {}
        self.seccomp = starts.SeccompCache()
        self.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.nofile = raise_nofile()
        self.log_writer = Companion(
            self.loop,
            "log-writer",
            exec_root,
            f"{exec_root}/logs.sock",
            self._from_log_writer,
            self._hand_over_logs,
        )
        self.janitor = Companion(
            self.loop, "janitor", exec_root, f"{exec_root}/janitor.sock", _ignore, lambda: None
        )
        self.log_writer.send({"op": "follow"})
        self.to_drop: list[str] = []  # ended tasks that the log writer may let go of, told in batches
        self.handlers: dict[str, Callable[[Peer, dict[str, Any], list[int]], None]] = {
            "start": self._start,
            "exec": self._exec,
            "kill": self._kill,
            "kill_all": self._kill_all,
            "resize": self._resize,
            "pause": self._pause,
            "resume": self._resume,
            "stdin": self._stdin,
            "close_stdin": self._close_stdin,
            "tasks": self._tasks,
            "forget": self._forget,
            "ping": lambda peer, request, fds: peer.answer(request, {"pid": os.getpid()}),
            "shutdown": self._shutdown,
        }
        self._adopt()
        self.listener = Listener(
            self.loop, seqpacket.listen(f"{exec_root}/supervisor.sock"), self._request, lambda peer: None
        )

    def run(self) -> None:
        """Serve until told to shut down. The heap made so far is shared with every child: freeze it."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self.loop.run()

    def _request(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        handler = self.handlers.get(request.get("op", ""))
        if handler is None:
            raise RequestError("system", f"unknown request {request.get('op')!r}")
        handler(peer, request, fds)

    def _task(self, request: dict[str, Any], *, running: bool = True) -> Task:
        task = self.tasks.get(request["id"])
        if task is None or (running and task.exit is not None):
            raise RequestError("not-found", f"no such task: {request['id']}")
        return task

    # -- starting -------------------------------------------------------------------------------

    def _start(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        spec: dict[str, Any] = request["spec"]
        linux: dict[str, Any] = spec["linux"]
        old = self.tasks.get(request["id"])
        if old is not None and old.exit is None:
            raise RequestError("system", f"task {request['id']} exists already")
        terminal = bool(request.get("terminal"))
        task = Task(request["id"], linux["cgroupsPath"], request["log"], terminal)
        seccomp = self.seccomp.get(request.get("seccomp"))
        try:
            warnings = self.cgroups.create(task.cgroup, linux.get("resources") or {})
        except OSError as e:
            self._clean_up(task)
            raise starts.start_error(SetupError.of(e, "set up cgroup")) from None
        stdio = None
        if not terminal:
            stdio = starts.Stdio(
                stdin=bool(request.get("open_stdin")), stdout=True, stderr=True, null_fd=self.null_fd
            )
            task.stdin_fd, task.stdout_fd, task.stderr_fd = stdio.stdin, stdio.stdout, stdio.stderr
        setup = starts.task_setup(
            request,
            stdio,
            cgroups=self.cgroups,
            mountpoint=self.mountpoint,
            seccomp=seccomp,
            nofile=self.nofile,
        )
        try:
            launched = starts.clone_task(setup, task, fds[0] if fds else -1)
        except SetupError as e:
            self._discard(task)
            raise starts.start_error(e) from None
        finally:
            if stdio is not None:
                stdio.close_child(self.null_fd)
        self.records.write(task)
        self.tasks[task.id] = task
        self._await_exec(peer, request, task, setup, launched, warnings)

    def _await_exec(
        self,
        peer: Peer,
        request: dict[str, Any],
        task: Task,
        setup: TaskSetup,
        launched: Launched,
        warnings: list[str],
    ) -> None:
        def id_maps() -> None:
            from corten.task.launch import write_id_maps

            write_id_maps(setup, task.pid)

        def done(pending: starts.PendingStart) -> None:
            task.master_fd = pending.master_fd
            if task.terminal and request.get("open_stdin"):
                task.stdin_fd = os.dup(task.master_fd)
            self._log(task)
            self.loop.watch(task.pidfd, lambda: self._ended(task), READ)
            self._watch_oom(task, setup.spec)
            peer.answer(request, {"pid": task.pid, "warnings": warnings})

        def failed(error: SetupError) -> None:
            os.waitpid(task.pid, 0)  # it has told its error and is on its way out
            del self.tasks[task.id]
            self.records.remove(task.id)
            self._discard(task)
            peer.answer(request, {"error": starts.start_error(error).document})

        starts.PendingStart(self.loop, launched, id_maps, done, failed)

    def _watch_oom(self, task: Task, spec: dict[str, Any]) -> None:
        resources = spec["linux"].get("resources") or {}
        if not (resources.get("memory") or {}).get("limit"):
            return
        try:
            task.oom_fd = self.cgroups.oom_watch(task.cgroup)
        except OSError:
            return

        def happened() -> None:
            os.read(task.oom_fd, 4096)
            if self.cgroups.oom_killed(task.cgroup):
                self.listener.broadcast({"event": "oom", "id": task.id})

        self.loop.watch(task.oom_fd, happened, READ)

    def _exec(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        task = self._task(request)
        exec_id = request["exec_id"]
        if exec_id in self.execs:
            raise RequestError("system", f"exec {exec_id} exists already")
        terminal = bool(request.get("terminal"))
        stdio = None
        if not terminal:
            stdio = starts.Stdio(
                stdin=bool(request.get("stdin")),
                stdout=bool(request.get("stdout")),
                stderr=bool(request.get("stderr")),
                null_fd=self.null_fd,
            )
        seccomp = self.seccomp.get(request.get("seccomp"))
        try:
            launched = starts.clone_exec(
                request, task, stdio, cgroups=self.cgroups, seccomp=seccomp, nofile=self.nofile
            )
        except SetupError as e:
            if stdio is not None:
                stdio.close_ours()
            raise starts.start_error(e) from None
        finally:
            if stdio is not None:
                stdio.close_child(self.null_fd)
        process = Exec(exec_id, task.id, launched.pid, launched.pidfd)

        def done(pending: starts.PendingStart) -> None:
            process.master_fd = pending.master_fd
            self.execs[exec_id] = process
            self.loop.watch(process.pidfd, lambda: self._exec_ended(process), READ)
            if stdio is None:
                peer.answer(request, {"pid": process.pid, "fds": ["master"]}, [process.master_fd])
                return
            named = [("stdin", stdio.stdin), ("stdout", stdio.stdout), ("stderr", stdio.stderr)]
            given = [(name, fd) for name, fd in named if fd >= 0]
            answer = {"pid": process.pid, "fds": [name for name, _ in given]}
            peer.answer(request, answer, [fd for _, fd in given])
            stdio.close_ours()

        def failed(error: SetupError) -> None:
            os.waitpid(process.pid, 0)
            os.close(process.pidfd)
            if stdio is not None:
                stdio.close_ours()
            peer.answer(request, {"error": starts.start_error(error).document})

        starts.PendingStart(self.loop, launched, lambda: None, done, failed)

    # -- ending ---------------------------------------------------------------------------------

    def _ended(self, task: Task) -> None:
        """The task's init is gone: note how, at once and durably; tell when its output is in the log."""
        code = self._exit_code(task)
        if code is None:
            # Adopted, a zombie, and not ours to reap: its parent's wait makes the pidfd hang up (and
            # only then it tells the exit code).
            self.loop.change(task.pidfd, 0)
            return
        self.loop.forget(task.pidfd)
        oom = False
        try:
            oom = self.cgroups.oom_killed(task.cgroup)
        except OSError:
            pass
        task.exit = ExitRecord(code, oom, time.time_ns())
        self.journal.append(task.id, task.exit)
        self._clean_up(task)
        if task.drained:
            self._tell_exit(task)
        else:
            self.loop.after(_DRAIN_TIMEOUT_S, lambda: self._drained(task))

    def _exit_code(self, task: Task) -> int | None:
        """How the task's init ended; None if that cannot be known yet; 255 if it never can (old kernels)."""
        try:
            return exit_code(os.waitpid(task.pid, 0)[1])
        except ChildProcessError:
            pass
        try:
            status = pidfd.exit_status(task.pidfd)
        except OSError:
            return 255
        return None if status is None else exit_code(status)

    def _clean_up(self, task: Task) -> None:
        """Leave what is slow to the janitor: the cgroup and the last hold on the mount namespace."""
        if task.oom_fd >= 0:
            self.loop.forget(task.oom_fd)
            task.close("oom_fd")
        held = [task.mnt_fd] if task.mnt_fd >= 0 else []
        self.janitor.send({"op": "clean", "cgroup": task.cgroup}, held)
        task.close("mnt_fd")

    def _discard(self, task: Task) -> None:
        """A start that failed leaves nothing."""
        self._clean_up(task)
        task.close("pidfd", "stdin_fd", "stdout_fd", "stderr_fd", "master_fd")

    def _drained(self, task: Task) -> None:
        if task.drained:
            return
        task.drained = True
        if task.exit is not None:
            self._tell_exit(task)

    def _tell_exit(self, task: Task) -> None:
        assert task.exit is not None
        task.close("pidfd", "stdin_fd", "stdout_fd", "stderr_fd", "master_fd")
        if not self.to_drop:
            self.loop.after(_DROP_DELAY_S, self._drop_outputs)
        self.to_drop.append(task.id)
        self.listener.broadcast(
            {
                "event": "exit", "id": task.id, "code": task.exit.code,
                "oom": task.exit.oom, "at_ns": task.exit.at_ns,
            }
        )  # fmt: skip

    def _exec_ended(self, process: Exec) -> None:
        self.loop.forget(process.pidfd)
        code = exit_code(os.waitpid(process.pid, 0)[1])
        os.close(process.pidfd)
        if process.master_fd >= 0:
            os.close(process.master_fd)
        del self.execs[process.id]
        self.listener.broadcast(
            {
                "event": "exit", "id": process.task_id, "exec_id": process.id, "code": code,
                "oom": False, "at_ns": time.time_ns(),
            }
        )  # fmt: skip

    # -- the log writer -------------------------------------------------------------------------

    def _log(self, task: Task) -> None:
        named = task.output_fds()
        message = {"op": "add", "id": task.id, "log": task.log, "fds": list(named)}
        self.log_writer.send(message, list(named.values()))

    def _hand_over_logs(self) -> None:
        """A new log writer: give it every task whose output has not ended."""
        self.log_writer.send({"op": "follow"})
        for task in self.tasks.values():
            if not task.drained:
                self._log(task)

    def _drop_outputs(self) -> None:
        ids, self.to_drop = self.to_drop, []
        self.log_writer.send({"op": "drop", "ids": ids})

    def _from_log_writer(self, peer: Peer, message: dict[str, Any], fds: list[int]) -> None:
        task = self.tasks.get(message["id"])
        if message.get("event") == "drained" and task is not None:
            self._drained(task)

    # -- everything else ------------------------------------------------------------------------

    def _process(self, request: dict[str, Any]) -> int:
        """The pidfd that a request means: of its exec if it names one, otherwise of its task."""
        if request.get("exec_id"):
            process = self.execs.get(request["exec_id"])
            if process is None:
                raise RequestError("not-found", f"no such exec: {request['exec_id']}")
            return process.pidfd
        return self._task(request).pidfd

    def _kill(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        try:
            pidfd.send_signal(self._process(request), request["signal"])
        except ProcessLookupError:
            raise RequestError("not-found", "process already finished") from None
        peer.answer(request, {})

    def _kill_all(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        task = self._task(request)
        self.cgroups.kill_all(task.cgroup)
        peer.answer(request, {})

    def _resize(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        exec_id = request.get("exec_id")
        if exec_id:
            process = self.execs.get(exec_id)
            if process is None:
                raise RequestError("not-found", f"no such exec: {exec_id}")
            master = process.master_fd
        else:
            master = self._task(request).master_fd
        if master >= 0:
            starts.resize(master, request["rows"], request["columns"])
        peer.answer(request, {})

    def _pause(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        self.cgroups.freeze(self._task(request).cgroup)
        peer.answer(request, {})

    def _resume(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        self.cgroups.thaw(self._task(request).cgroup)
        peer.answer(request, {})

    def _stdin(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        task = self._task(request)
        peer.answer(request, {}, [task.stdin_fd] if task.stdin_fd >= 0 else [])

    def _close_stdin(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        task = self._task(request)
        if not task.terminal:
            task.close("stdin_fd")
            self.log_writer.send({"op": "close_stdin", "id": task.id})
        peer.answer(request, {})

    def _tasks(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        tasks = []
        for task in self.tasks.values():
            document: dict[str, Any] = {"id": task.id, "pid": task.pid}
            if task.exit is not None and task.drained:
                document["exit"] = {"code": task.exit.code, "oom": task.exit.oom, "at_ns": task.exit.at_ns}
            tasks.append(document)
        peer.answer(request, {"tasks": tasks})

    def _forget(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        task = self.tasks.get(request["id"])
        if task is not None and task.exit is not None:
            del self.tasks[task.id]
            self.records.remove(task.id)
            self.journal.compact((t.id, t.exit) for t in self.tasks.values() if t.exit is not None)
        peer.answer(request, {})

    def _shutdown(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """End this process and its companions; refused while tasks run. For tests and uninstalling."""
        if any(task.exit is None for task in self.tasks.values()):
            raise RequestError("system", "tasks are running")
        self.loop.running = False
        self.log_writer.send({"op": "shutdown"})
        self.janitor.send({"op": "shutdown"})
        peer.answer(request, {})

    # -- restart --------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Take over what an earlier supervisor left: tasks that run, and exits nobody has forgotten."""
        exits = self.journal.read()
        for task in self.records.read_all():
            self.tasks[task.id] = task
            task.exit = exits.get(task.id)
            if task.exit is None and adoption.reopen(task):
                self.loop.watch(task.pidfd, lambda task=task: self._ended(task), READ)  # type: ignore[misc]
        fds = adoption.fetch_output_fds(f"{self.exec_root}/logs.sock")
        for task in self.tasks.values():
            adoption.take_output(task, fds.pop(task.id, {}))
            if task.exit is None and task.pidfd < 0:
                task.exit = ExitRecord(255, False, time.time_ns())
                self.journal.append(task.id, task.exit)
            if task.exit is not None and task.pidfd >= 0 and not self.loop.watches(task.pidfd):
                task.close("pidfd")
            if task.exit is None and not self.loop.watches(task.pidfd):
                self.loop.watch(task.pidfd, lambda task=task: self._ended(task), READ)  # type: ignore[misc]
            if task.exit is not None:
                task.drained = True
                self._clean_up(task)
            elif not any(name in task.output_fds() for name in ("stdout", "stderr", "master")):
                task.drained = True  # both log writer and supervisor died: its output is lost
        for leftover in fds.values():
            for fd in leftover.values():
                os.close(fd)


def _ignore(peer: Peer, message: dict[str, Any], fds: list[int]) -> None:
    pass


def main(exec_root: str) -> None:
    """The process's entry point."""
    become_daemon("corten-super")
    Supervisor(exec_root).run()
