"""Counters of cgroup v1 in the shape of Docker's stats document."""

from __future__ import annotations

from corten.linux.cgroups.files import keyed, read_number, read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NS_PER_TICK = 10_000_000  # USER_HZ is 100 on every machine of ours

_BLKIO = (
    ("io_service_bytes_recursive", "io_service_bytes_recursive"),
    ("io_serviced_recursive", "io_serviced_recursive"),
)
_BLKIO_EMPTY = (
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)


def cpu(cpu_fd: int | None, cpuacct_fd: int | None) -> dict[str, Any]:
    """`cpu_stats` without what is the host's: from cpuacct.* and cpu.stat."""
    usage: dict[str, Any] = {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
    throttled = {"periods": 0, "throttled_periods": 0, "throttled_time": 0}
    if cpuacct_fd is not None:
        usage["total_usage"] = read_number(cpuacct_fd, "cpuacct.usage")
        usage["percpu_usage"] = list(
            map(int, (read_or_none(cpuacct_fd, "cpuacct.usage_percpu") or "").split())
        )
        ticks = keyed(read_or_none(cpuacct_fd, "cpuacct.stat"))
        usage["usage_in_usermode"] = ticks.get("user", 0) * _NS_PER_TICK
        usage["usage_in_kernelmode"] = ticks.get("system", 0) * _NS_PER_TICK
    if cpu_fd is not None:
        stat = keyed(read_or_none(cpu_fd, "cpu.stat"))
        throttled["periods"] = stat.get("nr_periods", 0)
        throttled["throttled_periods"] = stat.get("nr_throttled", 0)
        throttled["throttled_time"] = stat.get("throttled_time", 0)
    return {"cpu_usage": usage, "throttling_data": throttled}


def memory(directory: int | None) -> dict[str, Any]:
    """`memory_stats`; empty without the controller."""
    if directory is None:
        return {}
    return {
        "usage": read_number(directory, "memory.usage_in_bytes"),
        "max_usage": read_number(directory, "memory.max_usage_in_bytes"),
        "failcnt": read_number(directory, "memory.failcnt"),
        "limit": read_number(directory, "memory.limit_in_bytes"),
        "stats": keyed(read_or_none(directory, "memory.stat")),
    }


def pids(directory: int | None) -> dict[str, Any]:
    """`pids_stats`; no `limit` where there is none."""
    if directory is None:
        return {}
    stats = {"current": read_number(directory, "pids.current")}
    limit = read_number(directory, "pids.max")
    if limit:
        stats["limit"] = limit
    return stats


def blkio(directory: int | None) -> dict[str, Any]:
    """`blkio_stats`: BFQ's counters if that scheduler counts, otherwise the throttling layer's."""
    stats: dict[str, Any] = {key: [] for key, _ in _BLKIO} | {key: [] for key in _BLKIO_EMPTY}
    if directory is not None:
        for key, file in _BLKIO:
            stats[key] = _entries(read_or_none(directory, "blkio.bfq." + file)) or _entries(
                read_or_none(directory, "blkio.throttle." + file)
            )
    return stats


def _entries(text: str | None) -> list[dict[str, Any]]:
    """`8:0 Read 4096` lines -> entries; the closing `Total` line has no device and is left out."""
    entries = []
    for line in (text or "").splitlines():
        fields = line.split()
        if len(fields) == 3:
            major, minor = fields[0].split(":")
            entries.append(
                {"major": int(major), "minor": int(minor), "op": fields[1], "value": int(fields[2])}
            )
    return entries
