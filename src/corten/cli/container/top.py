"""`corten top`."""

from __future__ import annotations

from corten.cli import table
from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, out
from corten.cli.flags import Options
from corten.client.query import quote

_COLUMN = 20


def show_processes(context: Context, _: Options, words: list[str]) -> int:
    """Print a container's processes as ps would."""
    name, *arguments = words
    fields = {"ps_args": " ".join(arguments)} if arguments else {}
    answer = context.engine.get(f"/containers/{quote(name)}/top", **fields)
    out(table.align([answer["Titles"], *answer["Processes"]], least=_COLUMN))
    return 0


TOP = Command("CONTAINER [ps OPTIONS]", show_processes, least=1, most=UNLIMITED, interspersed=False)
