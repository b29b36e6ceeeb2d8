"""`corten volume ls`."""

from __future__ import annotations

from corten.cli import filters, listing, sizes, table
from corten.cli.command import Command
from corten.cli.context import Context
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UNKNOWN = "N/A"
LISTING = table.Listing(
    ("Driver", "Name"),
    {
        "Name": "VOLUME NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "Mountpoint": "MOUNTPOINT",
        "Labels": "LABELS",
        "Links": "LINKS",
        "Size": "SIZE",
        "Availability": "AVAILABILITY",
        "Group": "GROUP",
        "Status": "STATUS",
    },
)


def show_volumes(context: Context, options: Options, _: list[str]) -> int:
    """Print the volumes by name."""
    answer = context.engine.get("/volumes", filters=filters.encode(options))
    rows = [row(v) for v in sorted(answer.get("Volumes") or (), key=lambda v: str(v["Name"]))]
    return listing.show(context, options, LISTING, rows, quiet="Name", setting="volumesFormat")


def row(volume: dict[str, Any]) -> table.Row:
    """One volume; links and size are only known to `df` and `du`."""
    labels = volume.get("Labels") or {}
    usage = volume.get("UsageData") or {}
    size = usage.get("Size", -1)
    return table.Row(
        {
            "Name": volume["Name"],
            "Driver": volume.get("Driver", ""),
            "Scope": volume.get("Scope", ""),
            "Mountpoint": volume.get("Mountpoint", ""),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted(labels.items())),
            "Links": str(usage["RefCount"]) if usage else _UNKNOWN,
            "Size": sizes.decimal(size) if size >= 0 else _UNKNOWN,
            "Availability": _UNKNOWN,
            "Group": _UNKNOWN,
            "Status": _UNKNOWN,
            "Label": lambda name: labels.get(name, ""),
        }
    )


LIST = Command(
    "[OPTIONS]",
    show_volumes,
    (
        Flag("filter", "filter", 'Provide filter values (e.g. "dangling=true")', "f"),
        FOR_LISTS,
        Flag("quiet", "bool", "Only display volume names", "q"),
    ),
)
