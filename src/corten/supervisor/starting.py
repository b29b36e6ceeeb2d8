"""The request "start", for our own tasks and for those of other OCI runtimes."""

from __future__ import annotations

import errno
import os

from corten.linux import pidfd, process
from corten.linux.namespaces import open_namespace
from corten.linux.pipes import enlarge
from corten.supervisor import external, inits, restoring, starts
from corten.supervisor.nursery import can_make_init, is_worth_it
from corten.supervisor.peers import Peer, RequestError
from corten.supervisor.task import Task
from corten.task.channel import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.supervisor import Supervisor
    from corten.task.setup import TaskSetup


class Starting:
    """A handler of the supervisor, and what it hears of later."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._super = supervisor
        self._loop = supervisor.loop

    def start(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Start a task; answered with its pid when it has become its program.

        fds: pipes for its stdout and stderr, if the engine reads them itself ("piped"), and the network
        namespace, if there is one to join. What is piped is logged nowhere.
        A task started again at once waits until the janitor has removed its former cgroup.
        """
        shares = self._shares(request)
        held = list(fds)
        fds.clear()

        def go() -> None:
            try:
                # Later engines have been told by now that there is no such task.
                if peer.gone:
                    raise RequestError("system", "the engine that wanted it has gone")
                self._start(peer, request, held, shares)
            except Exception as e:  # it may be the janitor that we are called by
                peer.answer_failure(request, e)
            finally:
                for fd in held:
                    os.close(fd)

        # Worth waiting for, but not in a cgroup that is being removed.
        nursery = self._super.nursery
        self._super.when_clean(
            request["spec"]["linux"]["cgroupsPath"], (lambda: nursery.when_free(go)) if shares else go
        )

    def _shares(self, request: dict[str, Any]) -> bool:
        """The one decision about it: whether a task's init is to be made on the nursery's memory."""
        if request.get("runtime") is not None or "restore" in request or not is_worth_it(self._super.cgroups):
            return False
        spec: dict[str, Any] = request["spec"]
        return can_make_init(spec) and self._super.seals.allow_init(spec)

    def _start(self, peer: Peer, request: dict[str, Any], fds: list[int], shares: bool) -> None:
        old = self._super.tasks.get(request["id"])
        if old is not None and old.exit is None:
            raise RequestError("system", f"task {request['id']} exists already")
        if old is not None:  # nobody shall take what it has left for the new one's
            self._super.records.remove(old.id)
        linux: dict[str, Any] = request["spec"]["linux"]
        terminal = bool(request.get("terminal"))
        task = Task(request["id"], linux["cgroupsPath"], request["log"], terminal, request.get("runtime"))
        piped = fds[:2] if request.get("piped") else []
        task.drained = bool(piped)
        stdio = None
        if not terminal:
            stdio = starts.Stdio(
                stdin=bool(request.get("open_stdin")), stdout=True, stderr=True, null_fd=self._super.null_fd,
                given=piped,
            )  # fmt: skip
            del fds[: len(piped)]
            task.stdin_fd, task.stdout_fd, task.stderr_fd = stdio.stdin, stdio.stdout, stdio.stderr
        netns_fd = fds[0] if fds else -1
        try:
            self._check_peers(request.get("peers") or {})
            self._super.seals.task_comes(task, request["spec"], restored="restore" in request)
            if request.get("restore"):
                self._start_restored(peer, request, task, stdio, netns_fd)
            elif task.runtime is None:
                self._start_ours(peer, request, task, stdio, netns_fd, shares)
            else:
                self._start_external(peer, request, task, stdio, netns_fd)
        except BaseException as e:
            if stdio is not None:
                stdio.close_child(self._super.null_fd)
            if self._super.tasks.get(task.id) is not task:  # nor will it ever be
                self._super.discard(task)
            if isinstance(e, SetupError):
                raise starts.start_error(e) from None
            raise

    def _check_peers(self, peers: dict[str, int]) -> None:
        """Raise SetupError unless these tasks have their pids still: nobody else's before we reap them."""
        for task_id, pid in peers.items():
            task = self._super.tasks.get(task_id)
            if task is None or task.exit is not None or task.pid != pid or not task.alive():
                text = f"container {task_id} is not running"
                raise SetupError(errno.ESRCH, "join namespaces", f"join namespaces: {text}")

    def _set_up(
        self, request: dict[str, Any], task: Task, stdio: starts.Stdio | None
    ) -> tuple[TaskSetup, list[str]]:
        """What is to be launched, its cgroup made; and limits that cannot be kept. Raises SetupError."""
        cgroups = self._super.cgroups
        spec: dict[str, Any] = request["spec"]
        try:
            warnings = cgroups.create(task.cgroup, spec["linux"].get("resources") or {})
        except OSError as e:
            raise SetupError.of(e, "set up cgroup") from None
        setup = starts.task_setup(
            request,
            stdio,
            cgroups=cgroups,
            mountpoint=self._super.mountpoint,
            seccomp=self._super.seccomp.get(request.get("seccomp")),
            nofile=self._super.nofile,
        )
        return setup, warnings

    def _start_ours(
        self,
        peer: Peer,
        request: dict[str, Any],
        task: Task,
        stdio: starts.Stdio | None,
        netns_fd: int,
        shares: bool,
    ) -> None:
        setup, warnings = self._set_up(request, task, stdio)
        init = inits.Init(
            self._super,
            task,
            setup,
            stdio,
            on_terminal=lambda master_fd: self._take_master(request, task, master_fd),
            on_done=lambda: self._started(peer, request, task, warnings),
            on_failed=lambda error: self._failed(peer, request, task, error),
        )
        init.begin(request, netns_fd, shares=shares)

    def handed_over(self, task: Task) -> None:
        """The log writer has all that a successor of ours would need: now the task may become its program.

        Should we die before this, it ends without ever having been; from now on its start is a
        successor's to finish, and nothing of it can be lost.
        """
        pending = task.starting
        if pending is None or not pending.waits:
            return
        try:
            self._super.records.write(task)
            pending.go()
        except OSError as e:
            pending.fail(SetupError.of(e, "record task"))

    def _start_restored(
        self, peer: Peer, request: dict[str, Any], task: Task, stdio: starts.Stdio | None, netns_fd: int
    ) -> None:
        setup, warnings = self._set_up(request, task, stdio)
        self._super.tasks[task.id] = task

        def done(pid: int) -> None:
            task.pid, task.pidfd = pid, pidfd.pidfd_open(pid)
            task.start_time = process.start_time(pid)
            task.mnt_fd = open_namespace(pid, "mnt")
            self._super.log(task)
            self._super.records.write(task)
            self._started(peer, request, task, warnings)

        try:
            restoring.PendingRestore(
                self._loop,
                setup,
                request,
                work=restoring.work_directory(self._super.exec_root, task.id),
                netns_fd=netns_fd,
                on_done=done,
                on_failed=lambda error: self._failed(peer, request, task, error),
            )
        except OSError as e:
            del self._super.tasks[task.id]
            raise SetupError.of(e, "restore") from None
        if stdio is not None:
            stdio.close_child(self._super.null_fd)

    def _start_external(
        self, peer: Peer, request: dict[str, Any], task: Task, stdio: starts.Stdio | None, netns_fd: int
    ) -> None:
        assert task.runtime is not None
        exec_root = self._super.exec_root
        bundle = external.Bundle(exec_root, task.id)
        held = os.dup(netns_fd) if netns_fd >= 0 else -1  # named by path in config.json until it is joined
        self._super.tasks[task.id] = task

        def done(pid: int, master_fd: int) -> None:
            release()
            task.pid, task.pidfd = pid, pidfd.pidfd_open(pid)
            task.start_time = process.start_time(pid)
            if task.terminal:
                self._take_master(request, task, master_fd)
            self._super.log(task)
            self._super.records.write(task)
            self._started(peer, request, task, [])

        def failed(error: SetupError) -> None:
            release()
            self._failed(peer, request, task, error)

        def release() -> None:
            if held >= 0:
                os.close(held)

        try:
            bundle.make(task, request["spec"], request.get("overlay"), held)
            program = external.Program(task.runtime, exec_root)
            child = None if stdio is None else stdio.child
            external.ExternalStart(
                self._loop, program, bundle, task.id, child, self._super.null_fd, done, failed
            )
        except OSError as e:
            release()
            del self._super.tasks[task.id]
            raise SetupError.of(e, "run another OCI runtime") from None
        if stdio is not None:
            stdio.close_child(self._super.null_fd)

    @staticmethod
    def _take_master(request: dict[str, Any], task: Task, master_fd: int) -> None:
        task.master_fd = master_fd
        task.stdout_fd, task.feed_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        enlarge(task.feed_fd)
        if request.get("open_stdin"):
            task.stdin_fd = os.dup(master_fd)

    def _started(self, peer: Peer, request: dict[str, Any], task: Task, warnings: list[str]) -> None:
        task.starting = None
        self._super.watch(task)
        self._super.watch_oom(task, request["spec"])
        peer.answer(request, {"pid": task.pid, "warnings": warnings})
        if peer.gone:
            self._settled(task, task.pid)

    def _failed(self, peer: Peer, request: dict[str, Any], task: Task, error: SetupError) -> None:
        task.starting = None
        del self._super.tasks[task.id]
        self._super.records.remove(task.id)
        self._super.discard(task)
        self._super.drop_output(task.id)
        peer.answer(request, {"error": starts.start_error(error).document})
        if peer.gone:
            self._settled(task, 0)

    def _settled(self, task: Task, pid: int) -> None:
        """Tell an engine of today how a start went that one before it had asked for."""
        self._super.listener.broadcast({"event": "settled", "id": task.id, "pid": pid})
