"""The supervisor: parent of every container, single-threaded, restartable under the engine's feet.

Requests (op): start, exec, exec_info, kill, kill_all, resize, pause, resume, stdin, close_stdin, tasks,
forget, clean (the cgroup of a start that came to nothing), ping, upgrade, shutdown.
Events: {"event": "exit", ...}, {"event": "oom", "id": ...}, {"event": "settled", "id", "pid"}: how a start
went whose engine has died over it.

A task's exit is told once the process is gone and the log writer has read its output to the end, so
that whoever hears of it finds the whole log.
"""

from __future__ import annotations

import gc
import os
import socket
import time

from corten.linux import cgroups, pidfd, seqpacket
from corten.linux.process import ended_with, exit_code, zombie_status
from corten.linux.syscalls import PR_SET_CHILD_SUBREAPER, prctl
from corten.supervisor import adoption, external, handover, restoring
from corten.supervisor.companions import Companion
from corten.supervisor.execs import Exec, Execs
from corten.supervisor.journal import ExitRecord, Journal
from corten.supervisor.loop import READ, Loop
from corten.supervisor.nursery import Nursery
from corten.supervisor.peers import Listener, Peer, RequestError
from corten.supervisor.process import become_daemon, open_null, raise_nofile, report
from corten.supervisor.reaper import Reaper
from corten.supervisor.rehearsal import rehearse
from corten.supervisor.requests import ON_DEMAND, Requests
from corten.supervisor.seals import Seals
from corten.supervisor.staging import open_fifo
from corten.supervisor.starting import Starting
from corten.supervisor.task import Records, Task
from corten.supervisor.upgrade import Upgrade
from corten.task.filters import SeccompCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    from corten.supervisor.handover import HeldCompanion, Inheritance

_DRAIN_TIMEOUT_S = 5.0  # output may be held open by a process outside the container's pid namespace

_DROP_DELAY_S = 1.0
_REMEMBERED = 4096
_REMEMBERED_EXECS = 1024


class Supervisor:
    """State and request handlers; `run()` is the process's life."""

    def __init__(self, exec_root: str, inherited: Inheritance | None = None) -> None:
        """inherited: what this process had before it became a new image."""
        self.exec_root = exec_root
        self.loop = Loop(report)
        self.cgroups = cgroups.manager()
        self.records = Records(f"{exec_root}/tasks")
        self.journal = Journal(f"{exec_root}/exits")
        self.mountpoint = f"{exec_root}/mnt"
        os.makedirs(self.mountpoint, 0o700, exist_ok=True)
        self.tasks: dict[str, Task] = {}
        self.execs: dict[str, Exec] = {}
        # Oldest first; an engine that starts anew may ask for them.
        self.ended_execs: dict[str, Exec] = {}
        self.null_fd = open_null()
        self.nofile = raise_nofile() if inherited is None else inherited.nofile
        self.cleaned: dict[str, None] = {}  # cgroups given to the janitor lately, oldest first
        self._numbers = 1  # of what is asked of the janitor: the first is "unclean"
        self.settling: dict[int, tuple[str, Callable[[], None]]] = {}  # starts, by what they wait for
        # Held for log writers to come.
        self.staging = open_fifo(exec_root) if inherited is None else inherited.staging_fd
        companions = {} if inherited is None else inherited.companions
        self.log_writer = Companion(
            self.loop,
            "log-writer",
            exec_root,
            f"{exec_root}/logs.sock",
            self._from_log_writer,
            self._hand_over_logs,
            companions.get("log-writer"),
            self._nothing_is_logged,
        )
        self.janitor = Companion(
            self.loop,
            "janitor",
            exec_root,
            f"{exec_root}/janitor.sock",
            self._from_janitor,
            self._janitor_replaced,
            companions.get("janitor"),
        )
        self.on_demand: dict[str, Companion] = {}
        for role in ON_DEMAND:
            if os.path.exists(f"{exec_root}/{role}.sock"):
                self.ensure(role, companions.get(role))
        # Until the janitor has told what a supervisor before us has left to it.
        self.knows_unclean = False
        self.janitor.send({"n": 1, "op": "unclean"})
        if inherited is None:
            self.log_writer.send({"op": "follow"})
        self.to_drop: list[str] = []  # ended tasks that the log writer may let go of, told in batches
        self.seccomp = SeccompCache()
        self.reaper = Reaper(self.loop)
        self.nursery = Nursery(self.loop, self.reaper)
        self.seals = Seals(self.tasks, self.nursery)
        self.starting = Starting(self)
        self.handlers: dict[str, Callable[[Peer, dict[str, Any], list[int]], None]] = {
            "start": self.starting.start,
            "exec": Execs(self).exec,
            "upgrade": Upgrade(self).upgrade,
            **Requests(self).handlers,
        }
        external.sweep(exec_root)
        restoring.sweep(exec_root, self.cgroups)
        listening = (
            seqpacket.listen(f"{exec_root}/supervisor.sock")
            if inherited is None
            else socket.socket(fileno=inherited.listener_fd)
        )
        self.listener = Listener(self.loop, listening, self._request, lambda peer: None)
        if inherited is None:
            self._adopt()
        else:
            handover.go_on(self, inherited)

    def run(self) -> None:
        """Serve until told to shut down. The heap made so far is shared with every child: freeze it."""
        rehearse(self.mountpoint, self.cgroups)
        gc.collect()
        gc.freeze()
        gc.disable()
        self.loop.run()

    def _request(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        handler = self.handlers.get(request.get("op", ""))
        if handler is None:
            raise RequestError("system", f"unknown request {request.get('op')!r}")
        handler(peer, request, fds)

    def task_of(self, request: dict[str, Any], *, running: bool = True) -> Task:
        """The task that a request names. Raises RequestError("not-found")."""
        task = self.tasks.get(request["id"])
        if task is None or (running and task.exit is not None):
            raise RequestError("not-found", f"no such task: {request['id']}")
        return task

    def watch(self, task: Task) -> None:
        """Hear of the task's end."""
        self.loop.watch(task.pidfd, lambda: self.ended(task), READ)

    def watch_exec(self, process: Exec) -> None:
        """Hear of the end of a further process."""
        self.loop.watch(process.pidfd, lambda: self.exec_ended(process), READ)

    def watch_oom(self, task: Task, spec: dict[str, Any]) -> None:
        """Tell of the task's memory running out, if it has a limit (each watch costs a descriptor)."""
        resources = spec["linux"].get("resources") or {}
        if not (resources.get("memory") or {}).get("limit"):
            return
        try:
            task.oom_fd = self.cgroups.oom_watch(task.cgroup)
        except OSError:
            return
        self.tell_of_oom(task)

    def tell_of_oom(self, task: Task) -> None:
        """Pass on what comes from the task's watch."""

        def happened() -> None:
            os.read(task.oom_fd, 4096)
            if self.cgroups.oom_killed(task.cgroup):
                self.listener.broadcast({"event": "oom", "id": task.id})

        self.loop.watch(task.oom_fd, happened, READ)

    # -- ending ---------------------------------------------------------------------------------

    def ended(self, task: Task) -> None:
        """The task's init is gone: note how, at once and durably; tell when its output is in the log."""
        code = self._exit_code(task)
        if code is None:
            # Adopted and being reaped by its new parent this moment: then the pidfd hangs up, and tells.
            self.loop.change(task.pidfd, 0)
            return
        self.loop.forget(task.pidfd)
        oom = False
        try:
            oom = self.cgroups.oom_killed(task.cgroup)
        except OSError:
            pass
        task.exit = ExitRecord(code, oom, time.time_ns())
        self.journal.append(task.life, task.exit)
        self._reap(task)
        self.let_go_when_drained(task)  # whoever waits for it gets the processor before the janitor does
        self.clean_up(task)

    def let_go_when_drained(self, task: Task) -> None:
        """Tell of the end of a task, which is on record, when its output has ended."""
        if task.drained:
            self._tell_exit(task)
        else:
            self.loop.after(_DRAIN_TIMEOUT_S, lambda: self._drained(task))

    def _exit_code(self, task: Task) -> int | None:
        """How the task's init ended; None if that cannot be known yet; 255 if it never can (old kernels)."""
        try:
            return ended_with(task.pidfd)
        except ChildProcessError:
            pass
        status = zombie_status(task.pid, task.start_time)
        if status is not None:
            return exit_code(status)
        try:
            status = pidfd.exit_status(task.pidfd)
        except OSError:
            return 255
        return None if status is None else exit_code(status)

    def _reap(self, task: Task) -> None:
        """Only now, when its end is on record: until then a successor could still ask for it."""
        try:
            self.reaper.reap(task.pid)
        except ChildProcessError:
            pass  # adopted

    def clean_up(self, task: Task) -> None:
        """Leave what is slow to the janitor: the cgroup and the last hold on the mount namespace."""
        if task.oom_fd >= 0:
            self.loop.forget(task.oom_fd)
            task.close("oom_fd")
        if task.runtime is not None:
            program, bundle = (
                external.Program(task.runtime, self.exec_root),
                external.Bundle(self.exec_root, task.id),
            )
            self.janitor.send(external.clean_request(program, bundle, task.id))
        self.clean_cgroup(task.cgroup, [task.mnt_fd] if task.mnt_fd >= 0 else [])
        task.close("mnt_fd")

    def clean_cgroup(self, cgroup: str, held: list[int]) -> None:
        """Have the janitor remove it, and close `held` descriptors."""
        self.cleaned[cgroup] = None
        if len(self.cleaned) > _REMEMBERED:
            del self.cleaned[next(iter(self.cleaned))]
        self.janitor.send({"op": "clean", "cgroup": cgroup}, held)

    def when_clean(self, cgroup: str, then: Callable[[], None]) -> None:
        """Call `then` once the janitor has removed an earlier cgroup of that name; usually at once."""
        if cgroup not in self.cleaned and self.knows_unclean:
            then()
            return
        self.cleaned.pop(cgroup, None)
        number = self._numbers = self._numbers + 1
        self.settling[number] = cgroup, then
        self.janitor.send({"n": number, "op": "settle", "cgroup": cgroup})

    def _from_janitor(self, peer: Peer, message: dict[str, Any], fds: list[int]) -> None:
        if "unclean" in message:
            awaited = {cgroup for cgroup, _ in self.settling.values()}
            self.cleaned.update(dict.fromkeys(set(message["unclean"]) - awaited))
            self.knows_unclean = True
        elif (waiting := self.settling.pop(message.get("n", 0), None)) is not None:
            waiting[1]()

    def _janitor_replaced(self) -> None:
        """The old one's work starts over, and whoever waits for a part of it waits for this one."""
        self.knows_unclean = True  # nobody else's is left
        self._clean_up_bundles({task.id for task in self.tasks.values() if task.exit is None})
        awaited = {cgroup for cgroup, _ in self.settling.values()}
        for cgroup in awaited | self.cleaned.keys():  # not made again yet; what is gone already is fine
            self.janitor.send({"op": "clean", "cgroup": cgroup})
        for number, (cgroup, _) in self.settling.items():
            self.janitor.send({"n": number, "op": "settle", "cgroup": cgroup})
            self.cleaned.pop(cgroup, None)

    def _clean_up_bundles(self, kept: Container[str]) -> None:
        """What tasks of other OCI runtimes have left: the janitor or a supervisor has died over it."""
        for task_id, bundle in external.bundles(self.exec_root).items():
            if task_id in kept:
                continue
            if task := bundle.task:
                self.clean_up(task)
            else:
                self.janitor.send({"op": "discard", "path": bundle.path})

    @property
    def companions(self) -> dict[str, Companion]:
        """All that we have, by role."""
        return {"log-writer": self.log_writer, "janitor": self.janitor, **self.on_demand}

    def ensure(self, role: str, held: HeldCompanion | None = None) -> None:
        """Have a process that many engines can do without: the resolver, the relay of published ports."""
        if role not in self.on_demand:
            path = f"{self.exec_root}/{role}.sock"
            self.on_demand[role] = Companion(
                self.loop, role, self.exec_root, path, lambda *_: None, lambda: None, held
            )

    def discard(self, task: Task) -> None:
        """A start that failed leaves nothing."""
        self.clean_up(task)
        task.close_stdio()

    def _drained(self, task: Task) -> None:
        if task.drained:
            return
        task.drained = True
        if task.exit is not None:
            self._tell_exit(task)

    def _tell_exit(self, task: Task) -> None:
        assert task.exit is not None
        task.close_stdio()
        self.drop_output(task.id)
        self.listener.broadcast(
            {
                "event": "exit", "id": task.id, "code": task.exit.code,
                "oom": task.exit.oom, "at_ns": task.exit.at_ns,
            }
        )  # fmt: skip

    def exec_ended(self, process: Exec) -> None:
        """A further process has ended."""
        self.loop.forget(process.pidfd)
        code = process.code = exit_code(self.reaper.reap(process.pid))
        process.ended_s = time.monotonic()
        os.close(process.pidfd)
        if process.master_fd >= 0:
            os.close(process.master_fd)
        self.ended_execs[process.id] = self.execs.pop(process.id)
        if len(self.ended_execs) > _REMEMBERED_EXECS:
            del self.ended_execs[next(iter(self.ended_execs))]
        self.listener.broadcast(
            {
                "event": "exit", "id": process.task_id, "exec_id": process.id, "code": code,
                "oom": False, "at_ns": time.time_ns(),
            }
        )  # fmt: skip

    # -- the log writer -------------------------------------------------------------------------

    def log(self, task: Task) -> None:
        """Hand the task's output to the log writer, and with it what a successor of ours will ask it for.

        Output that the engine reads itself is none of the log writer's.
        """
        if task.drained:
            self.starting.handed_over(task)
            return
        named = task.kept_fds()
        message = {"op": "add", "id": task.id, "log": task.log, "fds": list(named)}
        self.log_writer.send(message, list(named.values()), lambda: self.starting.handed_over(task))

    def _hand_over_logs(self) -> None:
        """A new log writer: give it every task whose output has not ended."""
        self.log_writer.send({"op": "follow"})
        for task in self.tasks.values():
            if not task.drained and (task.starting is None or task.starting.ready):
                self.log(task)

    def _nothing_is_logged(self) -> bool:
        """Whether the log writer could end: otherwise, if we died then, nobody would hold the output."""
        return all(task.drained for task in self.tasks.values())

    def drop_output(self, task_id: str) -> None:
        """Have the log writer let go of a task's output, a little later and with others."""
        if not self.to_drop:
            self.loop.after(_DROP_DELAY_S, self._drop_outputs)
        self.to_drop.append(task_id)

    def _drop_outputs(self) -> None:
        self.log_writer.replace_outdated()
        ids, self.to_drop = self.to_drop, []
        self.log_writer.send({"op": "drop", "ids": ids})

    def _from_log_writer(self, peer: Peer, message: dict[str, Any], fds: list[int]) -> None:
        task = self.tasks.get(message["id"])
        if message.get("event") == "drained" and task is not None:
            self._drained(task)

    # -- restart --------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Take over what an earlier supervisor left: tasks that run, and exits nobody has forgotten."""
        exits = self.journal.read()
        outputs = adoption.fetch_outputs(f"{self.exec_root}/logs.sock")
        for task in self.records.read_all():
            self.tasks[task.id] = task
            task.exit = exits.get(task.life)
            # Without its output's descriptors the log writer has died as well, or has let go of it.
            held = outputs.pop(task.id, None) or adoption.no_output()
            adoption.take_output(task, held)
            if not adoption.finish_start(task, held) and task.exit is None:
                self._never_was(task)
                continue
            if task.exit is None and task.pidfd < 0 and not adoption.reopen(task):
                task.exit = ExitRecord(255, False, time.time_ns())
                self.journal.append(task.life, task.exit)
            if task.exit is not None:
                self.clean_up(task)
                self.let_go_when_drained(task)
                continue
            adoption.hold_mounts(task)
            self.watch(task)
        for task_id, output in outputs.items():
            adoption.end_unrecorded(output)
            self.drop_output(task_id)
        self._clean_up_bundles(self.tasks)

    def _never_was(self, task: Task) -> None:
        """A start that our predecessor began has failed; whoever wanted it has been told that much."""
        del self.tasks[task.id]
        self.records.remove(task.id)
        self.discard(task)
        self.drop_output(task.id)


def main(exec_root: str, handover_fd: int = -1) -> None:
    """The process's entry point. handover_fd: what it had before it became this image (`handover.write`)."""
    become_daemon("corten-super")
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what runc and its like leave behind becomes our child
    Supervisor(exec_root, handover.take(handover_fd) if handover_fd >= 0 else None).run()
