"""Limits that this machine's kernel cannot keep: dropped at creation, and said, as dockerd does."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from corten.linux.cgroups.discarded import sentence
from corten.types.container import HostConfig

# Feature of the cgroup manager: (fields of HostConfig that need it, cgroup file that its sentence is about).
_NEEDS: dict[str, tuple[tuple[str, ...], str]] = {
    "MemoryLimit": (("memory", "memory_reservation"), "memory.limit_in_bytes"),
    "SwapLimit": (("memory_swap",), "memory.memsw.limit_in_bytes"),
    "OomKillDisable": (("oom_kill_disable",), "memory.oom_control"),
    "MemorySwappiness": (("memory_swappiness",), "memory.swappiness"),
    "PidsLimit": (("pids_limit",), "pids.max"),
    "CPUShares": (("cpu_shares",), "cpu.shares"),
    "CpuCfsPeriod": (("cpu_period",), "cpu.cfs_period_us"),
    "CpuCfsQuota": (("cpu_quota",), "cpu.cfs_quota_us"),
    "CPUSet": (("cpuset_cpus", "cpuset_mems"), "cpuset.cpus"),
    "BlkioWeight": (("blkio_weight",), "blkio.weight"),
    "BlkioWeightDevice": (("blkio_weight_device",), "blkio.weight_device"),
}
_ABSENT = {field: getattr(HostConfig(), field) for fields, _ in _NEEDS.values() for field in fields}


class Unsupported:
    """What is missing here; looked up once."""

    def __init__(self, features: Mapping[str, bool]) -> None:
        """features: of `CgroupManager.features`."""
        self._needs = [_NEEDS[name] for name in _NEEDS if not features.get(name)]

    def discard(self, host_config: HostConfig) -> tuple[HostConfig, list[str]]:
        """The configuration without what cannot be kept, and a warning for each."""
        warnings, changes = [], {}
        for fields, file in self._needs:
            given = [field for field in fields if getattr(host_config, field) not in (None, 0, -1, "", [])]
            if given:
                warnings.append(sentence(file))
                changes.update({field: _ABSENT[field] for field in given})
        return (msgspec.structs.replace(host_config, **changes) if changes else host_config), warnings
