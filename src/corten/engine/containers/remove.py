"""Removing a container: its row first, then what it had; the bytes go later."""

from __future__ import annotations

import logging
import os
from time import perf_counter

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.hostfiles import remove_host_files
from corten.engine.containers.sharedmemory import release_shm
from corten.engine.containers.state import Status
from corten.engine.containers.stop import Stopper
from corten.engine.containers.volumes import release_mounts
from corten.errors import Conflict

log = logging.getLogger(__name__)


class Remover:
    """`rm`, `--rm`, `container prune`."""

    def __init__(self, context: Context, stopper: Stopper) -> None:
        self._context = context
        self._stopper = stopper

    async def remove(self, container: Container, *, force: bool, volumes: bool) -> None:
        """Remove it, killing it first if `force`. Raises Conflict while it runs or is being removed."""
        began = perf_counter()
        if container.status is Status.REMOVING:
            raise Conflict(f"removal of container {container.name} is already in progress")
        if force:
            await self._stopper.force_stop(container)
        async with container.lock:
            if self._context.store.find(container.id) is not container:
                return  # gone meanwhile: what was asked for is so
            if not container.status.can_remove():
                raise Conflict(_refusal(container))
            await self._remove(container, volumes=volumes)
        self._context.measures.delete.observe(perf_counter() - began)

    async def auto_remove(self, container: Container) -> None:
        """`--rm` at the end of the container; anonymous volumes go with it."""
        try:
            await self.remove(container, force=True, volumes=True)
        except Conflict as e:
            log.debug("auto-remove left to others", extra={"container": container.id, "reason": str(e)})

    async def _remove(self, container: Container, *, volumes: bool) -> None:
        context = self._context
        container.status = Status.REMOVING
        while container.early_stdin:
            container.early_stdin.pop().close()
        release_shm(container)
        release_mounts(context, container, announce=False)
        leaving = _anonymous_volumes(container) if volumes else []
        if container.record.project:
            context.disk_limits.release(container)
        with context.store.transaction():
            context.release_network(container.id)
            context.store.remove(container)
            for name in leaving:
                context.volumes.rows.set_leaving(name, True)
        if os.path.isdir(container.directory):
            context.trash.discard(container.directory)
        remove_host_files(container)
        for name in leaving:
            await context.volume_manager.remove_leaving(name)
        # After the row: should we die in between, the next start finds a task that nobody wants.
        if container.has_task:
            await context.runtime.forget(container.id)
        context.publish(container, "destroy")
        container.ended.set()
        container.waiters.removed(container.state.exit_code)


def _anonymous_volumes(container: Container) -> list[str]:
    return [mount.name for mount in container.record.mounts if mount.kind == "volume" and mount.anonymous]


def _refusal(container: Container) -> str:
    if container.status is Status.PAUSED:
        hint = "and must be unpaused first"
        return f'cannot remove container "/{container.name}": container is paused {hint}'
    return (
        f'cannot remove container "/{container.name}": container is {container.status.value}: '
        "stop the container before removing or force remove"
    )
