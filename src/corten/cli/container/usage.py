"""What a sample of `/stats` means: percentages and sums, as `docker stats` computes and prints them."""

from __future__ import annotations

from corten.cli import sizes, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LISTING = table.Listing(
    ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"),
    {
        "Container": "CONTAINER",
        "ID": "CONTAINER ID",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
)
_UNKNOWN = "--"


def row(container: str, sample: dict[str, Any] | None, full: bool) -> table.Row:
    """A line of the list. container: the name it was asked for by; None: there is no sample (any more)."""
    if sample is None:
        names = ("CPUPerc", "MemPerc", "PIDs", "Name", "ID")
        pairs = dict.fromkeys(("MemUsage", "NetIO", "BlockIO"), f"{_UNKNOWN} / {_UNKNOWN}")
        return table.Row({"Container": container, **dict.fromkeys(names, _UNKNOWN), **pairs})
    used, limit = _memory(sample.get("memory_stats") or {})
    network = (sample.get("networks") or {}).values()
    received, sent = (sum(each[key] for each in network) for key in ("rx_bytes", "tx_bytes"))
    read, written = _block_io(sample.get("blkio_stats") or {})
    return table.Row(
        {
            "Container": container,
            "ID": sample["id"] if full else table.short_id(sample["id"]),
            "Name": sample["name"].removeprefix("/"),
            "CPUPerc": f"{_cpu_percent(sample):.2f}%",
            "MemUsage": f"{sizes.binary(used)} / {sizes.binary(limit)}",
            "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
            "NetIO": f"{sizes.decimal(received, 3)} / {sizes.decimal(sent, 3)}",
            "BlockIO": f"{sizes.decimal(read, 3)} / {sizes.decimal(written, 3)}",
            "PIDs": str((sample.get("pids_stats") or {}).get("current", 0)),
        }
    )


def _cpu_percent(sample: dict[str, Any]) -> float:
    """100 is one CPU's whole time between the two samples."""
    now, before = sample["cpu_stats"], sample["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    online = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ())
    return 100 * online * used / passed if used > 0 and passed > 0 else 0.0


def _memory(memory: dict[str, Any]) -> tuple[int, int]:
    """(usage without what could be dropped at once, limit)."""
    usage, counters = memory.get("usage", 0), memory.get("stats") or {}
    droppable = counters.get("total_inactive_file", counters.get("inactive_file", 0))
    return usage - droppable if droppable < usage else usage, memory.get("limit", 0)


def _block_io(blkio: dict[str, Any]) -> tuple[int, int]:
    read = written = 0
    for entry in blkio.get("io_service_bytes_recursive") or ():
        letter = entry["op"][:1].lower()
        read += entry["value"] if letter == "r" else 0
        written += entry["value"] if letter == "w" else 0
    return read, written
