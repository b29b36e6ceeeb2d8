"""`docker stats`: counters of a container's cgroup and network, once or every second."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import msgspec

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.host import memory_bytes
from corten.linux import netcounters
from corten.types.stats import Counters, Stats
from corten.units import format_time

_PERIOD_S = 1.0
_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Sampler:
    """Takes samples. The cgroup's files are read in threads: the kernel may take its time to sum them up."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def one(self, container: Container) -> Stats:
        """A sample; an empty one if the container does not run."""
        empty = Stats(name=f"/{container.name}", id=container.id)
        if not container.status.is_running() or container.starting:
            return empty
        pid = 0 if container.record.host_config.network_mode == "host" else container.pid
        try:
            return await asyncio.to_thread(self._sample, empty, container.cgroup, pid)
        except OSError:
            return empty  # it has just ended

    async def pair(self, container: Container) -> Stats:
        """Two samples a second apart as one: what is needed to compute a CPU percentage."""
        before = await self.one(container)
        await asyncio.sleep(_PERIOD_S)
        return _after(before, await self.one(container))

    async def stream(self, container: Container) -> AsyncIterator[Stats]:
        """A sample a second until the container is removed."""
        before: Stats | None = None
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._context.store.find(container.id) is container:
            now = await self.one(container)
            yield now if before is None else _after(before, now)
            before = now
            due = max(due + _PERIOD_S, loop.time())
            await asyncio.sleep(due - loop.time())

    def _sample(self, empty: Stats, cgroup: str, pid: int) -> Stats:
        counters = self._context.cgroups.stats(cgroup)
        cpu: Counters = counters["cpu_stats"]
        cpu["system_cpu_usage"], cpu["online_cpus"] = _system_cpu()
        memory = counters["memory_stats"]
        if memory:
            memory["limit"] = min(memory["limit"] or memory_bytes(), memory_bytes())
        return msgspec.structs.replace(
            empty,
            read=format_time(time.time_ns()),
            pids_stats=counters["pids_stats"],
            blkio_stats=counters["blkio_stats"],
            cpu_stats=cpu,
            memory_stats=memory,
            networks=(netcounters.read(pid) if pid else None) or None,
        )


def _after(before: Stats, now: Stats) -> Stats:
    return msgspec.structs.replace(now, preread=before.read, precpu_stats=before.cpu_stats)


def _system_cpu() -> tuple[int, int]:
    """(time that all CPUs have spent, in ns, since the machine was started; how many are online)."""
    with open("/proc/stat") as file:
        lines = [line.split() for line in file if line.startswith("cpu")]
    ticks = sum(int(value) for value in lines[0][1:8])  # without guest time, which is in user time already
    return ticks * _NS_PER_TICK, len(lines) - 1
