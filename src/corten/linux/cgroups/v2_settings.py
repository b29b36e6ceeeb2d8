"""OCI `linux.resources`, a v1-shaped document, -> writes to cgroup v2 files. Pure.

Sources: Documentation/admin-guide/cgroup-v2.rst; conversions as runc makes them
(github.com/opencontainers/cgroups), checked by golden values in the tests.
"""

from __future__ import annotations

import math

from corten.errors import InvalidParameter
from corten.linux.cgroups.v1_settings import rdma_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Setting = tuple[tuple[str, ...], str]  # file names, of which the first that exists is meant; value

_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def settings(resources: Mapping[str, Any]) -> list[Setting]:
    """All writes that `resources` asks for, devices aside. Raises InvalidParameter."""
    return [
        *_memory(resources.get("memory") or {}),
        *_cpu(resources.get("cpu") or {}),
        *_pids(resources.get("pids") or {}),
        *_io(resources.get("blockIO") or {}),
        *_others(resources),
        *_unified(resources.get("unified") or {}),
    ]


def ignored(resources: Mapping[str, Any]) -> list[str]:
    """Warnings for what v2 has no counterpart of."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    found = {
        "memory.oom_control": memory.get("disableOOMKiller"),
        "memory.swappiness": memory.get("swappiness") is not None,
        "memory.kmem.tcp.limit_in_bytes": memory.get("kernelTCP"),
        "cpu.rt_runtime_us": cpu.get("realtimeRuntime") or cpu.get("realtimePeriod"),
        "net_cls and net_prio": resources.get("network"),
    }
    return [f"{name} is not available with cgroup v2. Discarded." for name, wanted in found.items() if wanted]


def cpu_weight(shares: int) -> int:
    """cpu.shares (2..262144; 0 = unset) -> cpu.weight (1..10000; 0 = unset).

    A quadratic in log2 through minimum, maximum and the defaults (1024 -> 100), runc's since 1.3.2.
    The older linear formula made 39 of the default, so that containers lost to everything else.
    """
    if shares == 0:
        return 0
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def io_weight(blkio_weight: int) -> int:
    """blkio.weight (10..1000; 0 = unset) -> io.weight (1..10000; 0 = unset), linear."""
    return 0 if blkio_weight == 0 else 1 + (blkio_weight - 10) * 9999 // 990


def swap_max(memory: int, memory_and_swap: int) -> int | None:
    """v1's limit of memory and swap together -> v2's of swap alone; -1 is none, None leaves it as it is.

    Raises InvalidParameter where the difference makes no sense.
    """
    if memory_and_swap == 0:
        return -1 if memory == -1 else None
    if memory_and_swap == -1:
        return -1
    if memory in (0, -1):
        raise InvalidParameter("unable to set swap limit without memory limit")
    if memory < 0:
        raise InvalidParameter(f"invalid memory value: {memory}")
    if memory_and_swap < memory:
        raise InvalidParameter("memory+swap limit should be >= memory limit")
    return memory_and_swap - memory


def _number(value: int) -> str:
    return "max" if value < 0 else str(value)


def _memory(memory: Mapping[str, Any]) -> Iterator[Setting]:
    limit = memory.get("limit") or 0
    swap = swap_max(limit, memory.get("swap") or 0)
    if swap is not None:
        yield ("memory.swap.max",), _number(swap)
    if limit:
        yield ("memory.max",), _number(limit)
    if memory.get("reservation"):
        yield ("memory.low",), _number(memory["reservation"])


def _cpu(cpu: Mapping[str, Any]) -> Iterator[Setting]:
    if cpu.get("idle") is not None:
        yield ("cpu.idle",), str(cpu["idle"])
    if cpu.get("shares") and not cpu.get("idle"):
        yield ("cpu.weight",), str(cpu_weight(cpu["shares"]))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if quota or period:
        text = str(quota) if quota > 0 else "max"
        yield ("cpu.max",), f"{text} {period}" if period else text
    if cpu.get("burst") is not None:
        yield ("cpu.max.burst",), str(cpu["burst"])
    if cpu.get("cpus"):
        yield ("cpuset.cpus",), cpu["cpus"]
    if cpu.get("mems"):
        yield ("cpuset.mems",), cpu["mems"]


def _pids(pids: Mapping[str, Any]) -> Iterator[Setting]:
    if pids.get("limit"):
        yield ("pids.max",), _number(pids["limit"])


def _io(block: Mapping[str, Any]) -> Iterator[Setting]:
    if block.get("weight"):
        yield ("io.weight",), f"default {io_weight(block['weight'])}"
    for entry in block.get("weightDevice") or ():
        if entry.get("weight"):
            yield ("io.weight",), f"{entry['major']}:{entry['minor']} {io_weight(entry['weight'])}"
    for key, name in _THROTTLES:
        for entry in block.get(key) or ():
            rate = entry["rate"] or "max"
            yield ("io.max",), f"{entry['major']}:{entry['minor']} {name}={rate}"


def _others(resources: Mapping[str, Any]) -> Iterator[Setting]:
    for entry in resources.get("hugepageLimits") or ():
        yield (f"hugetlb.{entry['pageSize']}.max",), str(entry["limit"])
    for device, limits in (resources.get("rdma") or {}).items():
        yield ("rdma.max",), rdma_line(device, limits)


def _unified(unified: Mapping[str, str]) -> Iterator[Setting]:
    for file, value in unified.items():
        if "/" in file or file.startswith("cgroup.") or "." not in file:
            raise InvalidParameter(f"unified resource {file!r} must be a file name of a controller")
        yield (file,), value
