"""The sentences by which Docker says that a limit was dropped because the kernel cannot do it."""

from __future__ import annotations

_SENTENCES = {
    "memory.limit_in_bytes": "memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    "memory.memsw.limit_in_bytes": "swap limit capabilities or the cgroup is not mounted. "
    "Memory limited without swap.",
    "memory.soft_limit_in_bytes": "memory soft limit capabilities or the cgroup is not mounted. "
    "Limitation discarded.",
    "memory.swappiness": "memory swappiness capabilities or the cgroup is not mounted. "
    "Memory swappiness discarded.",
    "memory.oom_control": "OomKillDisable. OomKillDisable discarded.",
    "pids.max": "PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
    "cpu.shares": "CPU shares or the cgroup is not mounted. Shares discarded.",
    "cpu.cfs_quota_us": "CPU CFS quota. Quota discarded.",
    "cpu.cfs_period_us": "CPU CFS period. Period discarded.",
    "cpuset.cpus": "cpuset or the cgroup is not mounted. Cpuset discarded.",
    "blkio.weight": "Block I/O weight or the cgroup is not mounted. Weight discarded.",
    "blkio.weight_device": "Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
    "blkio.throttle.read_bps_device": "BPS Block I/O read limit or the cgroup is not mounted. "
    "Block I/O BPS read limit discarded.",
    "blkio.throttle.write_bps_device": "BPS Block I/O write limit or the cgroup is not mounted. "
    "Block I/O BPS write limit discarded.",
    "blkio.throttle.read_iops_device": "IOPS Block read limit or the cgroup is not mounted. "
    "Block I/O IOPS read limit discarded.",
    "blkio.throttle.write_iops_device": "IOPS Block write limit or the cgroup is not mounted. "
    "Block I/O IOPS write limit discarded.",
}
# v2's files, by the v1 file of the same meaning.
_ALIASES = {
    "memory.max": "memory.limit_in_bytes",
    "memory.swap.max": "memory.memsw.limit_in_bytes",
    "memory.low": "memory.soft_limit_in_bytes",
    "cpu.weight": "cpu.shares",
    "cpu.max": "cpu.cfs_quota_us",
    "cpuset.mems": "cpuset.cpus",
    "io.weight": "blkio.weight",
    "io.bfq.weight": "blkio.weight_device",
}


def sentence(file: str) -> str:
    """The warning that the limit behind a cgroup file was discarded."""
    text = _SENTENCES.get(_ALIASES.get(file, file))
    return "Your kernel does not support " + (text or f"{file}. Discarded.")
