"""`corten network ls`."""

from __future__ import annotations

from corten.cli import filters, listing, table
from corten.cli.command import Command
from corten.cli.context import Context
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LISTING = table.Listing(
    ("ID", "Name", "Driver", "Scope"),
    {
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv4": "IPV4",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
)


def show_networks(context: Context, options: Options, _: list[str]) -> int:
    """Print the networks by name."""
    networks = context.engine.get("/networks", filters=filters.encode(options))
    rows = [_row(n, options.on("no-trunc")) for n in sorted(networks, key=lambda n: str(n["Name"]))]
    return listing.show(context, options, _LISTING, rows, quiet="ID", setting="networksFormat")


def _row(network: dict[str, Any], full: bool) -> table.Row:
    labels = network.get("Labels") or {}
    return table.Row(
        {
            "ID": network["Id"] if full else network["Id"][:12],
            "Name": network["Name"],
            "Driver": network.get("Driver", ""),
            "Scope": network.get("Scope", ""),
            "IPv4": _switch(network.get("EnableIPv4")),
            "IPv6": _switch(network.get("EnableIPv6")),
            "Internal": _switch(network.get("Internal")),
            "Labels": ",".join(f"{k}={v}" for k, v in sorted(labels.items())),
            "CreatedAt": _created(str(network.get("Created", ""))),
            "Label": lambda name: labels.get(name, ""),
        }
    )


def _switch(value: object) -> str:
    return "true" if value else "false"


def _created(text: str) -> str:
    """RFC 3339 in the words of Go's time.String, in the zone it came in."""
    if text.endswith("Z"):
        return text[:-1].replace("T", " ") + " +0000 UTC"
    moment, sign, zone = text[:-6].replace("T", " "), text[-6:-5], text[-5:].replace(":", "")
    return f"{moment} {sign}{zone} {sign}{zone}" if sign in ("+", "-") else text


LIST = Command(
    "[OPTIONS]",
    show_networks,
    (
        Flag("filter", "filter", 'Provide filter values (e.g. "driver=bridge")', "f"),
        FOR_LISTS,
        Flag("no-trunc", "bool", "Do not truncate the output"),
        Flag("quiet", "bool", "Only display network IDs", "q"),
    ),
)
