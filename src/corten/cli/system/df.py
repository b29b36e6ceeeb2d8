"""`corten system df`: how much disk images, containers, volumes and build cache take."""

from __future__ import annotations

from corten.cli import sizes, table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LISTING = table.Listing(
    ("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"},
)
_ALIVE = ("running", "paused", "restarting")


def disk_usage(context: Context, options: Options, _: list[str]) -> int:
    """Print the sums, or with -v every item."""
    usage = context.engine.get("/system/df")
    if options.on("verbose"):
        from corten.cli.system.df_details import details

        out(details(usage))
        return 0
    rows = [_images(usage), _containers(usage), _volumes(usage), _build_cache(usage)]
    out(_LISTING.text(rows, options["format"]))
    return 0


def _row(kind: str, total: int, active: int, size: int, reclaimable: str) -> table.Row:
    return table.Row(
        Type=kind,
        TotalCount=str(total),
        Active=str(active),
        Size=sizes.decimal(size),
        Reclaimable=reclaimable,
    )


def _share(part: int, whole: int) -> str:
    return sizes.decimal(part) + (f" ({int(part * 100 / whole)}%)" if whole > 0 else "")


def _images(usage: dict[str, Any]) -> table.Row:
    images = usage.get("Images") or []
    used = [i for i in images if i.get("Containers", 0) > 0]
    whole = int(usage.get("LayersSize", 0))
    in_use = sum(
        i["Size"] - i["SharedSize"] for i in used if i.get("Size", -1) != -1 and i.get("SharedSize", -1) != -1
    )
    return _row("Images", len(images), len(used), whole, _share(whole - in_use, whole))


def _containers(usage: dict[str, Any]) -> table.Row:
    containers = usage.get("Containers") or []
    alive = [c for c in containers if c.get("State") in _ALIVE]
    size = sum(c.get("SizeRw", 0) for c in containers)
    idle = size - sum(c.get("SizeRw", 0) for c in alive)
    return _row("Containers", len(containers), len(alive), size, _share(idle, size))


def _volumes(usage: dict[str, Any]) -> table.Row:
    volumes = [(v.get("UsageData") or {}) for v in usage.get("Volumes") or []]
    size = sum(v["Size"] for v in volumes if v.get("Size", -1) != -1)
    idle = sum(v["Size"] for v in volumes if v.get("Size", -1) != -1 and not v.get("RefCount"))
    return _row(
        "Local Volumes",
        len(volumes),
        sum(1 for v in volumes if v.get("RefCount", 0) > 0),
        size,
        _share(idle, size),
    )


def _build_cache(usage: dict[str, Any]) -> table.Row:
    records = usage.get("BuildCache") or []
    in_use = [r for r in records if r.get("InUse")]
    size = int(usage.get("BuilderSize") or sum(r.get("Size", 0) for r in records if not r.get("Shared")))
    idle = size - sum(r.get("Size", 0) for r in in_use if not r.get("Shared"))
    return _row("Build Cache", len(records), len(in_use), size, sizes.decimal(idle))


DF = Command(
    "[OPTIONS]",
    disk_usage,
    (FOR_LISTS, Flag("verbose", "bool", "Show detailed information on space usage", "v")),
)
