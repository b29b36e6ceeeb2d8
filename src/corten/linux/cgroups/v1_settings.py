"""OCI `linux.resources` -> writes to cgroup v1 files. Pure: nothing here touches the kernel.

A *setting* is (controller, file names, value); of several names the first that exists is meant, and
every line of the value is one write.
Sources: Documentation/admin-guide/cgroup-v1/*.rst; runtime-spec config-linux.md "Control groups".
"""

from __future__ import annotations

from corten.errors import InvalidParameter
from corten.linux import devices
from corten.linux.cgroups.device_policy import DevicePolicy, access_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Setting = tuple[str, tuple[str, ...], str]

# (key of the document, file): written as they are, in this order.
_MEMORY = (
    ("limit", "memory.limit_in_bytes"),
    ("swap", "memory.memsw.limit_in_bytes"),  # memory and swap together, so after the limit
    ("reservation", "memory.soft_limit_in_bytes"),
    ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
    ("swappiness", "memory.swappiness"),
)
_CPU = (
    ("realtimePeriod", "cpu.rt_period_us"),
    ("realtimeRuntime", "cpu.rt_runtime_us"),
    ("period", "cpu.cfs_period_us"),
    ("quota", "cpu.cfs_quota_us"),
    ("burst", "cpu.cfs_burst_us"),
)
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def settings(resources: Mapping[str, Any]) -> list[Setting]:
    """All writes that `resources` asks for. Raises InvalidParameter for v2's `unified`."""
    if resources.get("unified"):
        raise InvalidParameter("invalid configuration: cannot use unified on cgroup v1")
    return [
        *_devices(resources.get("devices")),
        *_memory(resources.get("memory") or {}),
        *_cpu(resources.get("cpu") or {}),
        *_pids(resources.get("pids") or {}),
        *_blkio(resources.get("blockIO") or {}),
        *_others(resources),
    ]


def _devices(rules: list[dict[str, Any]] | None) -> Iterator[Setting]:
    if rules is None:
        return
    policy = DevicePolicy(devices.effective_rules(rules))
    default, other = "devices.deny", "devices.allow"
    if policy.default_allow:
        default, other = other, default
    yield "devices", (default,), "a"
    lines = [
        f"{kind} {'*' if major is None else major}:{'*' if minor is None else minor} {access_text(bits)}"
        for (kind, major, minor), bits in policy.exceptions.items()
    ]
    if lines:
        yield "devices", (other,), "\n".join(lines)


def _memory(memory: Mapping[str, Any]) -> Iterator[Setting]:
    for key, file in _MEMORY:
        value = memory.get(key)
        if key == "swap" and not value and memory.get("limit") == -1:
            value = -1  # no limit on memory means none on both together
        if value is not None and (value or key == "swappiness"):
            yield "memory", (file,), str(value)
    if memory.get("disableOOMKiller") is not None:
        yield "memory", ("memory.oom_control",), str(int(memory["disableOOMKiller"]))


def _cpu(cpu: Mapping[str, Any]) -> Iterator[Setting]:
    for key, file in _CPU:
        if cpu.get(key):
            yield "cpu", (file,), str(cpu[key])
    if cpu.get("idle") is not None:
        yield "cpu", ("cpu.idle",), str(cpu["idle"])
    if cpu.get("shares") and not cpu.get("idle"):
        yield "cpu", ("cpu.shares",), str(cpu["shares"])
    if cpu.get("cpus"):
        yield "cpuset", ("cpuset.cpus",), cpu["cpus"]
    if cpu.get("mems"):
        yield "cpuset", ("cpuset.mems",), cpu["mems"]


def _pids(pids: Mapping[str, Any]) -> Iterator[Setting]:
    limit = pids.get("limit")
    if limit:
        yield "pids", ("pids.max",), str(limit) if limit > 0 else "max"


def _blkio(block: Mapping[str, Any]) -> Iterator[Setting]:
    if block.get("weight"):
        yield "blkio", ("blkio.weight", "blkio.bfq.weight"), str(block["weight"])
    if block.get("leafWeight"):
        yield "blkio", ("blkio.leaf_weight",), str(block["leafWeight"])
    for entry in block.get("weightDevice") or ():
        device = f"{entry['major']}:{entry['minor']}"
        if entry.get("weight"):
            yield "blkio", ("blkio.weight_device", "blkio.bfq.weight_device"), f"{device} {entry['weight']}"
        if entry.get("leafWeight"):
            yield "blkio", ("blkio.leaf_weight_device",), f"{device} {entry['leafWeight']}"
    for key, file in _THROTTLES:
        for entry in block.get(key) or ():
            yield "blkio", (file,), f"{entry['major']}:{entry['minor']} {entry['rate']}"


def _others(resources: Mapping[str, Any]) -> Iterator[Setting]:
    for entry in resources.get("hugepageLimits") or ():
        yield "hugetlb", (f"hugetlb.{entry['pageSize']}.limit_in_bytes",), str(entry["limit"])
    network = resources.get("network") or {}
    if network.get("classID"):
        yield "net_cls", ("net_cls.classid",), str(network["classID"])
    for entry in network.get("priorities") or ():
        yield "net_prio", ("net_prio.ifpriomap",), f"{entry['name']} {entry['priority']}"
    for device, limits in (resources.get("rdma") or {}).items():
        yield "rdma", ("rdma.max",), rdma_line(device, limits)


def rdma_line(device: str, limits: Mapping[str, Any]) -> str:
    """`mlx4_0 hca_handle=2 hca_object=2000` (the same file on v1 and v2)."""
    names = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
    return " ".join(
        [device, *(f"{file}={limits[key]}" for key, file in names if limits.get(key) is not None)]
    )
