"""What the engine asks of tasks that are there: a handler each; see `supervisor` for the list of requests."""

from __future__ import annotations

import errno
import os
import time

from corten.linux import pidfd
from corten.linux.tty import set_size
from corten.supervisor import external
from corten.supervisor.peers import RequestError
from corten.supervisor.process import code_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from corten.supervisor.peers import Peer
    from corten.supervisor.supervisor import Supervisor
    from corten.supervisor.task import Task

ON_DEMAND = ("netd", "relay")
_REMEMBER_EXEC_S = 300.0  # as the engine does


class Requests:
    """Handlers of the supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._super = supervisor
        self._freezes: dict[str, object] = {}  # who wants a task to be frozen that is not yet, by task

    @property
    def handlers(self) -> dict[str, Callable[[Peer, dict[str, Any], list[int]], None]]:
        """By their op."""
        return {
            "exec_info": self.exec_info,
            "kill": self.kill,
            "kill_all": self.kill_all,
            "resize": self.resize,
            "pause": self.pause,
            "resume": self.resume,
            "stdin": self.stdin,
            "close_stdin": self.close_stdin,
            "tasks": self.tasks,
            "forget": self.forget,
            "clean": self.clean,
            "companion": self.start_companion,
            "ping": self.ping,
            "shutdown": self.shutdown,
        }

    def ping(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Tell who we are."""
        peer.answer(request, {"pid": os.getpid(), "version": code_version()})

    def _process(self, request: dict[str, Any]) -> int:
        """The pidfd that a request means: of its exec if it names one, otherwise of its task."""
        if request.get("exec_id"):
            process = self._super.execs.get(request["exec_id"])
            if process is None:
                raise RequestError("not-found", f"no such exec: {request['exec_id']}")
            return process.pidfd
        return self._super.task_of(request).pidfd

    def kill(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Signal a task or an exec."""
        task = self._super.task_of(request)
        if task.runtime is not None and not request.get("exec_id"):
            self._through_runtime(peer, request, task, "kill", task.id, str(request["signal"]))
            return
        try:
            pidfd.send_signal(self._process(request), request["signal"])
        except ProcessLookupError:
            raise RequestError("not-found", "process already finished") from None
        peer.answer(request, {})

    def _through_runtime(self, peer: Peer, request: dict[str, Any], task: Task, *command: str) -> None:
        """Have another OCI runtime do it."""
        assert task.runtime is not None
        program = external.Program(task.runtime, self._super.exec_root)

        def ended(code: int) -> None:
            failed = {
                "error": {"kind": "system", "message": f"{program.path} {command[0]} exited with {code}"}
            }
            peer.answer(request, failed if code else {})

        external.run(self._super.loop, program.argv(*command), None, ended)

    def kill_all(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """SIGKILL to everything in the task's cgroup."""
        task = self._super.task_of(request)
        self._proceed(peer, request, self._super.cgroups.killing(task.cgroup))

    def _proceed(self, peer: Peer, request: dict[str, Any], steps: Iterator[float]) -> None:
        """Answer when all steps are taken; others need not wait for the kernel."""

        def done(error: OSError | None) -> None:
            if error is None:
                peer.answer(request, {})
            else:
                kind = "not-found" if isinstance(error, ProcessLookupError) else "system"
                peer.answer(request, {"error": RequestError(kind, str(error)).document})

        self._super.loop.proceed(steps, done)

    def resize(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Give a terminal its size."""
        exec_id = request.get("exec_id")
        if exec_id:
            process = self._super.execs.get(exec_id)
            if process is None:
                raise RequestError("not-found", f"no such exec: {exec_id}")
            master = process.master_fd
        else:
            master = self._super.task_of(request).master_fd
        if master >= 0:
            try:
                set_size(master, request["rows"], request["columns"])
            except OSError:
                pass  # a terminal that has just gone does not mind
        peer.answer(request, {})

    def pause(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Freeze a task."""
        task = self._super.task_of(request)
        if task.runtime is not None:
            self._through_runtime(peer, request, task, "pause", task.id)
            return
        self._proceed(peer, request, self._freezing(task))

    def _freezing(self, task: Task) -> Iterator[float]:
        """The steps of freezing a task, as long as nobody wants it to run on, or to end."""
        wish = self._freezes[task.id] = object()
        try:
            for seconds in self._super.cgroups.freezing(task.cgroup):
                yield seconds
                if task.exit is not None:
                    raise ProcessLookupError(errno.ESRCH, f"no such task: {task.id}")
                if self._freezes.get(task.id) is not wish:
                    raise InterruptedError(errno.EINTR, "somebody wants it to run on")
        finally:
            if self._freezes.get(task.id) is wish:
                del self._freezes[task.id]

    def resume(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Thaw a task."""
        task = self._super.task_of(request)
        if task.runtime is not None:
            self._through_runtime(peer, request, task, "resume", task.id)
            return
        self._freezes.pop(task.id, None)
        self._super.cgroups.thaw(task.cgroup)
        peer.answer(request, {})

    def stdin(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Hand out the writing end of a task's input."""
        task = self._super.task_of(request)
        peer.answer(request, {}, [task.stdin_fd] if task.stdin_fd >= 0 else [])

    def close_stdin(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """A task's input ends."""
        task = self._super.task_of(request)
        if not task.terminal:
            task.close("stdin_fd")
            self._super.log_writer.send({"op": "close_stdin", "id": task.id})
        peer.answer(request, {})

    def exec_info(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """What became of an exec; also a while after its end."""
        exec_id = request["exec_id"]
        process = self._super.execs.get(exec_id) or self._super.ended_execs.get(exec_id)
        if process is None or (
            process.code is not None and time.monotonic() - process.ended_s > _REMEMBER_EXEC_S
        ):
            raise RequestError("not-found", f"no such exec: {exec_id}")
        pid = 0 if process.code is not None else process.pid
        answer = {"id": process.task_id, "pid": pid, "code": process.code, "about": process.about}
        peer.answer(request, answer)

    def tasks(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """All tasks, and how the ended ones ended."""
        self._super.listener.catch_up(but=peer)  # what an engine before has asked for comes first
        tasks = []
        for task in self._super.tasks.values():
            document: dict[str, Any] = {"id": task.id, "pid": task.pid, "cgroup": task.cgroup}
            if task.exit is None:
                document["paused"] = self._super.cgroups.frozen(task.cgroup)
            elif task.drained:
                document["exit"] = {"code": task.exit.code, "oom": task.exit.oom, "at_ns": task.exit.at_ns}
            tasks.append(document)
        peer.answer(request, {"tasks": tasks})

    def forget(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """An ended task need not be remembered any more."""
        task = self._super.tasks.get(request["id"])
        if task is not None and task.exit is not None:
            del self._super.tasks[task.id]
            self._super.records.remove(task.id)
            self._super.journal.compact(
                (t.life, t.exit) for t in self._super.tasks.values() if t.exit is not None
            )
        peer.answer(request, {})

    def clean(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Remove the cgroup of a start that came to nothing."""
        task = self._super.tasks.get(request["id"])
        if task is None or task.exit is not None:
            self._super.clean_cgroup(request["cgroup"], [])
        peer.answer(request, {})

    def start_companion(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Have a process that many engines can do without."""
        if request["role"] not in ON_DEMAND:
            raise RequestError("system", f"unknown role {request['role']!r}")
        self._super.ensure(request["role"])
        peer.answer(request, {})

    def shutdown(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """End this process and its companions; refused while tasks run. For tests and uninstalling."""
        if any(task.exit is None for task in self._super.tasks.values()):
            raise RequestError("system", "tasks are running")
        self._super.loop.running = False
        self._super.log_writer.send({"op": "shutdown"})
        self._super.janitor.send({"op": "shutdown"})
        for companion in self._super.on_demand.values():
            companion.send({"op": "shutdown"})
        peer.answer(request, {})
