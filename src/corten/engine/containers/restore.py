"""After an engine restart: ledger, supervisor and disk are brought together.

Nothing is lost: a task that lives is adopted, one that ended meanwhile has its exit in the supervisor's
journal until we say `forget`, and what belongs to no row is taken away.
"""

from __future__ import annotations

import logging
import os
import shutil
import time

from corten.engine.containers.connections import Connections
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.exits import ExitHandler
from corten.engine.containers.healthmonitor import HealthMonitor
from corten.engine.containers.incarnation import Incarnation
from corten.engine.containers.restarts import Restarts
from corten.engine.containers.sharedmemory import release_shm
from corten.engine.containers.state import Status
from corten.engine.containers.volumes import adopt_mounts, release_mounts
from corten.errors import NotFound
from corten.runtimes.protocol import Adopted, Exit

log = logging.getLogger(__name__)

# What Docker says of a container whose end nobody saw.
_EXIT_UNKNOWN = 255


class Restorer:
    """Runs once at start, and again when another supervisor has taken over."""

    def __init__(
        self, context: Context, exits: ExitHandler, restarts: Restarts, health: HealthMonitor, directory: str
    ) -> None:
        """directory: <root>/containers."""
        root, exec_root = os.path.dirname(directory), os.path.dirname(context.store.run_directory)
        self._incarnation = Incarnation(root, exec_root)
        self._context = context
        self._exits = exits
        self._restarts = restarts
        self._health = health
        self._directory = directory

    async def restore(self) -> None:
        """Adopt, record, sweep. The network must not have been restored before (it is done here)."""
        context = self._context
        tasks = {task.task_id: task for task in await context.runtime.tasks()}
        live = [identifier for identifier, task in tasks.items() if task.exit is None]
        context.network.restore(live)
        context.network_plugins.restore()
        ended, never_begun = self._reconcile(tasks)
        connections = Connections(context)
        for identifier in live:
            if container := context.store.find(identifier):
                connections.undo_unfinished(container)
        await self._kill_strangers(tasks)
        context.volume_manager.sweep()
        await context.volume_manager.end_removals()
        self._sweep()
        context.disk_limits.restore()
        for container in never_begun:
            self._undo_start(container)
        for container, exit in ended:
            self._exits.handle(container, exit)
        self._incarnation.note()
        self._start_by_policy({container.id for container, _ in ended})

    async def supervisor_replaced(self) -> None:
        """A new supervisor has adopted the tasks: record what ended in between."""
        tasks = {task.task_id: task for task in await self._context.runtime.tasks()}
        ended, never_begun = self._reconcile(tasks)
        for container in never_begun:
            self._undo_start(container)
        for container, exit in ended:
            self._exits.handle(container, exit)
        for identifier, task in tasks.items():
            if task.exit is None:
                continue
            known = self._context.store.find(identifier)
            if tell := self._context.transient.get(identifier):
                tell(task.exit)
            elif known is None or not (known.starting or known.status.is_running()):
                await self._context.runtime.forget(identifier)  # the one before may not have heard it

    def on_settled(self, task_id: str, pid: int) -> None:
        """The runtime's callback: how a start went that an engine before us had begun. pid 0: it failed."""
        container = self._context.store.find(task_id)
        if container is None or container.starting or not container.status.is_running():
            return
        if pid:
            container.pid = pid
        else:
            self._undo_start(container)

    def _reconcile(self, tasks: dict[str, Adopted]) -> tuple[list[tuple[Container, Exit]], list[Container]]:
        """Give every container its task.

        Returns the exits that still have to be handled, and whose start never came about.
        """
        ended: list[tuple[Container, Exit]] = []
        never_begun: list[Container] = []
        all_known = self._incarnation.is_known()
        for container in self._context.store.all():
            if container.starting:
                continue  # its start() will learn from the runtime what became of it
            task = tasks.get(container.id)
            container.has_task = task is not None
            if task is not None and task.exit is None:
                self._adopt(container, task)
            elif container.status.is_running():
                if task is None and all_known:
                    never_begun.append(container)
                else:
                    ended.append((container, task.exit if task and task.exit else _lost(container)))
        return ended, never_begun

    def _undo_start(self, container: Container) -> None:
        """The engine died over a start that did not come about: it is as if nobody had asked for it."""
        context, state = self._context, container.state
        container.pid, container.has_task = 0, False
        if container.health is not None:
            self._health.end(container)
        if not state.finished_ns:
            container.status, state.started_ns = Status.CREATED, 0
        else:
            state.started_ns = min(state.started_ns, state.finished_ns)
            wanted = self._restarts.wanted(container)
            container.status = Status.RESTARTING if wanted else Status.EXITED
        release_shm(container)
        with context.store.transaction():
            context.release_network(container.id)
            context.store.save_state(container)
        release_mounts(context, container, announce=False)
        container.ended.set()

    def _adopt(self, container: Container, task: Adopted) -> None:
        container.pid, container.cgroup = task.pid, task.cgroup
        adopt_mounts(self._context, container)
        status = Status.PAUSED if task.paused else Status.RUNNING
        if container.status.is_running() and container.status is not status:
            container.status = status  # we died while it was being frozen or thawed
            self._context.store.save_state(container)
        elif not container.status.is_running():
            # A start whose outcome the ledger did not get to see.
            container.status = status
            container.state.started_ns = container.state.started_ns or time.time_ns()
            self._context.store.save_state(container)
        if container.status is Status.RUNNING:
            self._health.resume(container)

    async def _kill_strangers(self, tasks: dict[str, Adopted]) -> None:
        """Tasks without a container: `rm` was cut short by a crash."""
        for identifier, task in tasks.items():
            if self._context.store.find(identifier) is not None or identifier in self._context.transient:
                continue
            log.warning("task without container removed", extra={"container": identifier})
            try:
                if task.exit is None:
                    await self._context.runtime.kill_all(identifier)
                await self._context.runtime.forget(identifier)
            except NotFound:
                continue

    def _sweep(self) -> None:
        """Directories without a row: create or remove was cut short."""
        store = self._context.store
        for name in os.listdir(self._directory):
            if store.find(name) is None:
                self._context.trash.discard(os.path.join(self._directory, name))
        os.makedirs(store.run_directory, 0o710, exist_ok=True)
        for name in os.listdir(store.run_directory):
            if store.find(name) is None:
                shutil.rmtree(os.path.join(store.run_directory, name))

    def _start_by_policy(self, just_ended: set[str]) -> None:
        """`--rm` containers that do not run go; others start if their policy says so."""
        idle = [
            container
            for container in self._context.store.all()
            if not container.status.is_running() and container.id not in just_ended
        ]
        for container in idle:
            if container.record.host_config.auto_remove and container.state.started_ns:
                self._exits.remove_later(container)
        self._restarts.restore([each for each in idle if not each.record.host_config.auto_remove])


def _lost(container: Container) -> Exit:
    """The end of a task that nobody saw: the machine was restarted."""
    return Exit(
        task_id=container.id, exec_id=None, code=_EXIT_UNKNOWN, oom_killed=False, at_ns=time.time_ns()
    )
