"""`corten builder ls` and `inspect`: the one builder there is, the engine itself, as buildx shows it."""

from __future__ import annotations

from corten.cli import table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def show_builders(context: Context, _: Options, __: list[str]) -> int:
    """Print the builder and its node."""
    name, version = context.context_name, _version(context)
    rows = [
        ["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "VERSION", "PLATFORMS"],
        [f"{name}*", "docker", "", "", ""],
        [rf" \_ {name}", rf" \_ {name}", "running", str(version["Version"]), _platform(version)],
    ]
    out(table.align(rows))
    return 0


def inspect(context: Context, _: Options, names: list[str]) -> int:
    """Print what there is to know of the builder."""
    name = context.context_name
    if names and names[0] != name:
        raise ExitError(f'ERROR: no builder "{names[0]}" found')
    version = _version(context)
    out(table.align([["Name:", name], ["Driver:", "docker"]]) + "\nNodes:\n")
    rows = [
        ["Name:", name],
        ["Endpoint:", name],
        ["Status:", "running"],
        ["Version:", str(version["Version"])],
        ["Platforms:", _platform(version)],
    ]
    out(table.align(rows))
    return 0


def _version(context: Context) -> dict[str, Any]:
    found: dict[str, Any] = context.engine.get("/version")
    return found


def _platform(version: dict[str, Any]) -> str:
    return f"{version['Os']}/{version['Arch']}"


LIST = Command("", show_builders, ())
INSPECT = Command("[NAME]", inspect, (), most=1)
