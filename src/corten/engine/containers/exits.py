"""What happens when a container's process has ended: recorded, told, and perhaps started again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.healthmonitor import HealthMonitor
from corten.engine.containers.restarts import Restarts
from corten.engine.containers.sharedmemory import release_shm
from corten.engine.containers.state import Status
from corten.engine.containers.volumes import release_mounts
from corten.runtimes.protocol import Exit


class ExitHandler:
    """Receives exits from the runtime. `remove` is given later (it needs us, too)."""

    def __init__(self, context: Context, restarts: Restarts, health: HealthMonitor) -> None:
        self._context = context
        self._health = health
        self._restarts = restarts
        self.remove: Callable[[Container], Awaitable[None]]
        self.exec_exited: Callable[[Exit], None]
        self.execs_ended: Callable[[Container], None]

    def on_exit(self, exit: Exit) -> None:
        """The runtime's callback."""
        if exit.exec_id is not None:
            self._context.transient.get(exit.exec_id, self.exec_exited)(exit)
            return
        container = self._context.store.find(exit.task_id)
        if transient := self._context.transient.get(exit.task_id):
            transient(exit)
        elif container is None:
            self._context.background.start(self._context.runtime.forget(exit.task_id), "forget task")
        elif container.starting:
            container.early_exit = exit
        elif container.status.is_running():
            self.handle(container, exit)

    def handle_early(self, container: Container) -> None:
        """The start is complete: handle an exit that came while it was on its way."""
        if container.early_exit is not None:
            self.handle(container, container.early_exit)

    def on_oom(self, task_id: str) -> None:
        """The runtime's callback: the kernel has killed something in the container."""
        container = self._context.store.find(task_id)
        if container is not None:
            container.oom_seen = True
            self._context.publish(container, "oom")

    def handle(self, container: Container, exit: Exit) -> None:
        """Record an exit, wake who waits, and let the restart policy decide."""
        context, state = self._context, container.state
        container.pid = 0
        container.early_exit = None
        if container.exec_ids:
            self.execs_ended(container)
        if container.health is not None:
            self._health.end(container)
        state.exit_code = exit.code
        state.oom_killed = exit.oom_killed
        state.finished_ns = exit.at_ns
        release_shm(container)
        seconds = max(0, exit.at_ns - state.started_ns) // 1_000_000_000
        if self._restarts.wanted(container):
            self._restarts.begin(container)
        else:
            container.status = Status.EXITED
        removing = self._goes(container)
        with context.store.transaction():
            context.release_network(container.id)
            if not removing:
                context.store.save_state(container)
        release_mounts(context, container, announce=True)
        if exit.oom_killed and not container.oom_seen:
            context.publish(container, "oom")
        context.publish(container, "die", exitCode=str(exit.code), execDuration=str(seconds))
        if removing:
            # The ledger still says "running" and the runtime still knows the exit: after a crash here
            # restore() comes to the same conclusion.
            self.remove_later(container)
        else:
            container.has_task = False
            context.background.start(context.runtime.forget(container.id), "forget task")
        # Only now: who waits may start the container again, and `forget` must be on its way before that.
        container.ended.set()
        container.waiters.exited(exit.code)

    def _goes(self, container: Container) -> bool:
        """Whether `--rm` removes it now; a stop on the way to the next start is not its end."""
        stays = container.restarting or self._restarts.shutting_down
        return container.record.host_config.auto_remove and not stays

    def remove_later(self, container: Container) -> None:
        """`--rm`."""
        self._context.background.start(self._auto_remove(container), "auto-remove")

    async def _auto_remove(self, container: Container) -> None:
        await self.remove(container)
