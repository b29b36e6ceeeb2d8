"""`corten ps`."""

from __future__ import annotations

import time

from corten import spans
from corten.cli import clock, filters, listing, sizes, table
from corten.cli.command import Command
from corten.cli.container.published import displayed
from corten.cli.context import Context
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COMMAND_COLUMNS = 20
_MOUNT_COLUMNS = 15

_LISTING = table.Listing(
    ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
    {
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "CreatedAt": "CREATED AT",
        "RunningFor": "CREATED",
        "Ports": "PORTS",
        "State": "STATE",
        "Status": "STATUS",
        "Size": "SIZE",
        "Names": "NAMES",
        "Labels": "LABELS",
        "Mounts": "MOUNTS",
        "LocalVolumes": "LOCAL VOLUMES",
        "Networks": "NETWORKS",
        "Platform": "PLATFORM",
    },
)


def show_containers(context: Context, options: Options, _: list[str]) -> int:
    """Print the containers that run, or those asked for."""
    template = options["format"] or str(
        context.config().get("psFormat", "") if not options.on("quiet") else ""
    )
    with_size = options.on("size") or ".Size" in template
    limit = 1 if options.on("latest") else options.number("last")
    containers = context.engine.get(
        "/containers/json",
        all=1 if options.on("all") else None,
        limit=limit if limit > 0 else None,
        size=1 if with_size else None,
        filters=filters.encode(options),
    )
    full = options.on("no-trunc")
    rows = [row(c, full) for c in containers]
    columns = (*_LISTING.columns, "Size") if with_size else ()
    return listing.show(context, options, _LISTING, rows, quiet="ID", setting="psFormat", columns=columns)


def row(c: dict[str, Any], full: bool) -> table.Row:
    """What the list shows of a container; `full`: nothing cut short."""
    labels = c.get("Labels") or {}
    mounts = c.get("Mounts") or []
    created = int(c.get("Created", 0))
    command = str(c.get("Command", ""))
    return table.Row(
        {
            "ID": c["Id"] if full else c["Id"][:12],
            "Names": _names(c, full),
            "Image": _image(c, full),
            "Command": _quoted(command if full else table.ellipsis(command, _COMMAND_COLUMNS)),
            "CreatedAt": clock.go_string((created, 0)),
            "RunningFor": spans.human(time.time() - created) + " ago",
            "Ports": displayed(c.get("Ports") or []),
            "State": c.get("State", ""),
            "Status": c.get("Status", ""),
            "Size": _size(c),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted(labels.items())),
            "Mounts": ",".join(_mount(m, full) for m in mounts),
            "LocalVolumes": str(sum(1 for m in mounts if m.get("Driver") == "local")),
            "Networks": ",".join((c.get("NetworkSettings") or {}).get("Networks") or {}),
            "Platform": None,
            "Label": lambda name: labels.get(name, ""),
        }
    )


def _names(c: dict[str, Any], full: bool) -> str:
    names = [str(name).removeprefix("/") for name in c.get("Names") or []]
    return ",".join(name for name in names if full or "/" not in name)


def _image(c: dict[str, Any], full: bool) -> str:
    image = str(c.get("Image", ""))
    if not image:
        return "<no image>"
    if full:
        return image
    short = table.short_id(image)
    if short == table.short_id(str(c.get("ImageID", ""))):
        return short
    return image.partition("@")[0]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return f'"{escaped}"'


def _size(c: dict[str, Any]) -> str:
    written, virtual = c.get("SizeRw", 0), c.get("SizeRootFs", 0)
    shown = sizes.decimal(written, 3)
    return f"{shown} (virtual {sizes.decimal(virtual, 3)})" if virtual > 0 else shown


def _mount(m: dict[str, Any], full: bool) -> str:
    name = str(m.get("Name") or m.get("Source") or "")
    return name if full else table.ellipsis(name, _MOUNT_COLUMNS)


LIST = Command(
    "[OPTIONS]",
    show_containers,
    (
        Flag("all", "bool", "Show all containers (default shows just running)", "a"),
        Flag("filter", "filter", "Filter output based on conditions provided", "f"),
        FOR_LISTS,
        Flag("last", "int", "Show n last created containers (includes all states)", "n", default=-1),
        Flag("latest", "bool", "Show the latest created container (includes all states)", "l"),
        Flag("no-trunc", "bool", "Don't truncate output"),
        Flag("quiet", "bool", "Only display container IDs", "q"),
        Flag("size", "bool", "Display total file sizes", "s"),
    ),
)
