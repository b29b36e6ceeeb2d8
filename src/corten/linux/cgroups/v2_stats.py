"""Counters of cgroup v2 in the shape of Docker's stats document (its v2 variant: fewer keys)."""

from __future__ import annotations

from corten.linux.cgroups.files import keyed, read_number, read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNLIMITED = 0xFFFF_FFFF_FFFF_FFFF
_IO_OPERATIONS = (("rbytes", "read"), ("wbytes", "write"))
_IO_COUNTS = (("rios", "read"), ("wios", "write"))


def cpu(directory: int) -> dict[str, Any]:
    """`cpu_stats` without what is the host's; cpu.stat counts microseconds."""
    stat = keyed(read_or_none(directory, "cpu.stat"))
    return {
        "cpu_usage": {
            "total_usage": stat.get("usage_usec", 0) * 1000,
            "usage_in_kernelmode": stat.get("system_usec", 0) * 1000,
            "usage_in_usermode": stat.get("user_usec", 0) * 1000,
        },
        "throttling_data": {
            "periods": stat.get("nr_periods", 0),
            "throttled_periods": stat.get("nr_throttled", 0),
            "throttled_time": stat.get("throttled_usec", 0) * 1000,
        },
    }


def memory(directory: int) -> dict[str, Any]:
    """`memory_stats`."""
    return {
        "usage": read_number(directory, "memory.current"),
        "limit": read_number(directory, "memory.max", unlimited=_UNLIMITED),
        "stats": keyed(read_or_none(directory, "memory.stat")),
    }


def pids(directory: int) -> dict[str, Any]:
    """`pids_stats`."""
    return {
        "current": read_number(directory, "pids.current"),
        "limit": read_number(directory, "pids.max", unlimited=_UNLIMITED),
    }


def blkio(directory: int) -> dict[str, Any]:
    """`blkio_stats` from io.stat; what v2 does not count is null, as in Docker."""
    text = read_or_none(directory, "io.stat")
    return {
        "io_service_bytes_recursive": _entries(text, _IO_OPERATIONS),
        "io_serviced_recursive": _entries(text, _IO_COUNTS) or None,
        "io_queue_recursive": None,
        "io_service_time_recursive": None,
        "io_wait_time_recursive": None,
        "io_merged_recursive": None,
        "io_time_recursive": None,
        "sectors_recursive": None,
    }


def _entries(text: str | None, names: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """`8:0 rbytes=1 wbytes=2 ...` lines -> entries."""
    entries = []
    for line in (text or "").splitlines():
        device, *fields = line.split()
        major, minor = device.split(":")
        values = dict(field.split("=", 1) for field in fields if "=" in field)
        for key, operation in names:
            if key in values:
                entries.append(
                    {"major": int(major), "minor": int(minor), "op": operation, "value": int(values[key])}
                )
    return entries
