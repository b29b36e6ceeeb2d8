"""`corten network rm`."""

from __future__ import annotations

from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context
from corten.cli.each import for_each
from corten.cli.flags import Flag, Options
from corten.client.query import quote


def remove(context: Context, options: Options, names: list[str]) -> int:
    """Remove networks; with -f those that are not there are no error."""
    return for_each(
        names,
        lambda name: context.engine.delete(f"/networks/{quote(name)}"),
        forgive_missing=options.on("force"),
    )


REMOVE = Command(
    "NETWORK [NETWORK...]",
    remove,
    (Flag("force", "bool", "Do not error if the network does not exist", "f"),),
    least=1,
    most=UNLIMITED,
)
