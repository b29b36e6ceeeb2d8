"""Restart policies: whether a container starts again by itself, and when.

Source: dockerd's back-off: 100 ms, doubled up to a minute, forgotten after ten seconds of running.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.state import Status
from corten.errors import CortenError, NotModified

log = logging.getLogger(__name__)

_BACKOFF_FIRST_S = 0.1
_BACKOFF_MAX_S = 60.0
_BACKOFF_RESET_S = 10.0


class Restarts:
    """Keeps the timers. `start` is given later: it needs the handler of exits, which needs us."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.start: Callable[[Container], Awaitable[None]]
        self.shutting_down = False

    def wanted(self, container: Container) -> bool:
        """Whether the policy starts it again after the exit that its state shows."""
        state, policy = container.state, container.record.host_config.restart_policy
        if self.shutting_down or state.stopped_by_user:
            return False
        if policy.name in ("always", "unless-stopped"):
            return True
        if policy.name != "on-failure" or state.exit_code == 0:
            return False
        return not policy.maximum_retry_count or state.restart_count < policy.maximum_retry_count

    def begin(self, container: Container) -> None:
        """It has ended: start it again after the back-off, unless somebody stops it before."""
        state = container.state
        if not state.backoff_s or state.finished_ns - state.started_ns >= _BACKOFF_RESET_S * 1e9:
            state.backoff_s = _BACKOFF_FIRST_S
        else:
            state.backoff_s = min(_BACKOFF_MAX_S, state.backoff_s * 2)
        container.status = Status.RESTARTING
        state.restart_count += 1
        self._schedule(container, state.backoff_s)

    def give_up(self, container: Container) -> None:
        """End the back-off, because somebody stopped it: the container stays as it is."""
        container.cancel_restart()
        container.state.stopped_by_user = True
        container.status = Status.EXITED
        self._context.store.save_state(container)
        container.waiters.exited(container.state.exit_code)

    def restore(self, containers: Sequence[Container]) -> None:
        """The engine has been started: go on with back-offs, start what has to run always."""
        waiting = []
        for container in containers:
            state, policy = container.state, container.record.host_config.restart_policy.name
            if container.status is Status.RESTARTING:
                since_end_s = (time.time_ns() - state.finished_ns) / 1e9
                self._schedule(container, min(state.backoff_s, max(0.0, state.backoff_s - since_end_s)))
            elif state.started_ns and (
                policy == "always" or (policy == "unless-stopped" and not state.stopped_by_user)
            ):
                waiting.append(container)
        if waiting:
            self._context.background.start(self._start_all(waiting), "restart policies")

    async def _start_all(self, containers: Sequence[Container]) -> None:
        """Who shares another container's namespaces or is linked to it comes after it."""
        later = [each for each in containers if _needs_others(each)]
        first = [each for each in containers if each not in later]
        await asyncio.gather(*(self._start(container) for container in first))
        for container in later:
            await self._start(container)

    def _schedule(self, container: Container, seconds: float) -> None:
        container.restart_timer = asyncio.get_running_loop().call_later(
            seconds, lambda: self._context.background.start(self._start(container), "restart policy")
        )

    async def _start(self, container: Container) -> None:
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


def _needs_others(container: Container) -> bool:
    h = container.record.host_config
    return bool(h.links) or any(map(container_mode, (h.network_mode, h.pid_mode, h.ipc_mode)))
