"""Pausing: a container's processes are frozen where they are."""

from __future__ import annotations

from contextlib import suppress

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.healthmonitor import HealthMonitor
from corten.engine.containers.state import Status
from corten.errors import Conflict, InternalError, NotFound


class Pauser:
    """`pause`, `unpause`. What the kernel has frozen is the truth: restore() reads it from there."""

    def __init__(self, context: Context, health: HealthMonitor) -> None:
        self._context = context
        self._health = health

    async def pause(self, container: Container, *, for_a_moment: bool = False) -> None:
        """Freeze it. Raises Conflict if it does not run or is paused, NotFound if it has just ended.

        for_a_moment: the engine's own affair, which `thaw` ends; if we are killed, the next engine does.
        """
        async with container.lock:
            if container.status is Status.PAUSED:
                raise Conflict(f"Container {container.id} is already paused")
            if container.status is Status.RESTARTING:
                raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
            if not container.status.is_running():
                raise Conflict(f"container {container.id} is not running")
            if for_a_moment:
                self._intend_to_thaw(container, True)
            try:
                await self._context.runtime.pause(container.id)
                if container.status is not Status.RUNNING:
                    raise Conflict(f"container {container.id} is not running")  # it has ended meanwhile
            except BaseException:
                if for_a_moment:
                    self._intend_to_thaw(container, False)
                raise
            self._health.suspend(container)
            self._became(container, Status.PAUSED, "pause")

    async def unpause(self, container: Container) -> None:
        """Let it run on. Raises InternalError (Docker's choice) if it is not paused."""
        async with container.lock:
            if container.status is not Status.PAUSED:
                raise InternalError(f"Container {container.id} is not paused")
            await self.resume(container)

    async def resume(self, container: Container) -> None:
        """Let a paused container run on; its lock need not be held."""
        await self._context.runtime.resume(container.id)
        container.state.thaw = False
        if container.status is Status.PAUSED:
            self._became(container, Status.RUNNING, "unpause")
            self._health.resume(container)

    async def thaw(self, container: Container) -> None:
        """End a pause of the engine's own, if it still lasts."""
        if not container.state.thaw:
            return  # somebody else has ended it
        if container.status is Status.PAUSED:
            with suppress(NotFound):  # it has just ended
                await self.resume(container)
        else:
            self._intend_to_thaw(container, False)

    def _intend_to_thaw(self, container: Container, intended: bool) -> None:
        container.state.thaw = intended
        self._context.store.save_state(container)

    def _became(self, container: Container, status: Status, action: str) -> None:
        container.status = status
        self._context.store.save_state(container)
        self._context.publish(container, action)
