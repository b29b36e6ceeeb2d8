"""What happens when a container's process has ended: recorded, told, and perhaps started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.sharedmemory import release_shm
from corten.engine.containers.state import Status
from corten.errors import CortenError, NotModified
from corten.runtimes.protocol import Exit

log = logging.getLogger(__name__)

# Docker's back-off: 100 ms, doubled up to a minute, forgotten after ten seconds of running.
_BACKOFF_FIRST_S = 0.1
_BACKOFF_MAX_S = 60.0
_BACKOFF_RESET_S = 10.0


class ExitHandler:
    """Receives exits from the runtime. `start` and `remove` are given later (they need us, too)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.start: Callable[[Container], Awaitable[None]]
        self.remove: Callable[[Container], Awaitable[None]]
        self.exec_exited: Callable[[Exit], None]
        self.execs_ended: Callable[[Container], None]
        self.shutting_down = False

    def on_exit(self, exit: Exit) -> None:
        """The runtime's callback."""
        if exit.exec_id is not None:
            self.exec_exited(exit)
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
        state.exit_code = exit.code
        state.oom_killed = exit.oom_killed
        state.finished_ns = exit.at_ns
        release_shm(container)
        seconds = max(0, exit.at_ns - state.started_ns) // 1_000_000_000
        if self._wants_restart(container):
            self._restart_later(container, seconds)
        else:
            container.status = Status.EXITED
        removing = container.record.host_config.auto_remove and not self.shutting_down
        with context.store.transaction():
            context.release_network(container.id)
            if not removing:
                context.store.save_state(container)
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
        if container.status is Status.EXITED:
            container.waiters.exited(exit.code)

    def remove_later(self, container: Container) -> None:
        """`--rm`."""
        self._context.background.start(self._auto_remove(container), "auto-remove")

    async def _auto_remove(self, container: Container) -> None:
        await self.remove(container)

    def _wants_restart(self, container: Container) -> bool:
        if self.shutting_down or container.state.stopped_by_user:
            return False
        return policy_restarts(container)

    def _restart_later(self, container: Container, ran_seconds: int) -> None:
        if ran_seconds >= _BACKOFF_RESET_S or not container.backoff_s:
            container.backoff_s = _BACKOFF_FIRST_S
        else:
            container.backoff_s = min(_BACKOFF_MAX_S, container.backoff_s * 2)
        container.status = Status.RESTARTING
        container.state.restart_count += 1
        self.schedule(container, container.backoff_s)

    def schedule(self, container: Container, seconds: float) -> None:
        """Start the container after a while unless somebody stops it before."""
        container.restart_timer = asyncio.get_running_loop().call_later(
            seconds, lambda: self._context.background.start(self._restart(container), "restart policy")
        )

    async def _restart(self, container: Container) -> None:
        container.restart_timer = None
        if self._context.store.find(container.id) is not container or self.shutting_down:
            return
        try:
            await self.start(container)
        except NotModified:
            return
        except CortenError as e:
            log.warning("restart failed", extra={"container": container.id, "reason": str(e)})
            container.waiters.exited(container.state.exit_code)


def policy_restarts(container: Container) -> bool:
    """Whether the policy starts it again after such an exit (if nobody stopped it)."""
    policy = container.record.host_config.restart_policy
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name != "on-failure" or container.state.exit_code == 0:
        return False
    return not policy.maximum_retry_count or container.state.restart_count < policy.maximum_retry_count
