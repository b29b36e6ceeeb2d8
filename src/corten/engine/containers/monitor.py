"""Looking into containers: `top` and `stats`, as the API asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.state import Status
from corten.engine.containers.stats import Sampler
from corten.engine.containers.top import processes
from corten.errors import Conflict
from corten.types.container import TopResponse
from corten.types.stats import Stats


class Monitor:
    """Implements `corten.api.routes.monitoring.Monitor`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sampler = Sampler(context)

    async def top(self, ref: str, arguments: str) -> TopResponse:
        """See Monitor."""
        container = self._context.store.get(ref)
        if container.status is Status.RESTARTING:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        if not container.status.is_running() or container.starting:
            raise Conflict(f"container {container.id} is not running")
        pids = await asyncio.to_thread(self._context.cgroups.pids, container.cgroup)
        listed = await processes(sorted(pids), arguments)
        self._context.publish(container, "top")
        return listed

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Stats]:
        """See Monitor."""
        container = self._context.store.get(ref)
        if stream:
            return self._sampler.stream(container)
        return self._once(container, one_shot=one_shot)

    async def _once(self, container: Container, *, one_shot: bool) -> AsyncIterator[Stats]:
        if one_shot or not container.status.is_running():
            yield await self._sampler.one(container)
        else:
            yield await self._sampler.pair(container)
