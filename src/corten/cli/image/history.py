"""`corten history`."""

from __future__ import annotations

import time

from corten import spans
from corten.cli import clock, sizes, table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CREATED_BY_COLUMNS = 45

_HEADERS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_LISTING = table.Listing(("ID", "CreatedSince", "CreatedBy", "Size", "Comment"), _HEADERS)
_EXACT = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")


def history(context: Context, options: Options, arguments: list[str]) -> int:
    """Print an image's layers, newest first."""
    fields: dict[str, object] = {}
    if options["platform"]:
        from corten.cli.image.platform import encode

        fields["platform"] = encode(options["platform"])
    layers = context.engine.get(f"/images/{quote(arguments[0], b'/:@')}/history", **fields)
    full, human = options.on("no-trunc"), options.on("human")
    rows = [_row(layer, full, human) for layer in layers]
    if options.on("quiet"):
        out("".join(row["ID"] + "\n" for row in rows))
        return 0
    out(_LISTING.text(rows, options["format"], () if human else _EXACT))
    return 0


def _row(layer: dict[str, Any], full: bool, human: bool) -> table.Row:
    created = int(layer.get("Created", 0))
    command = str(layer.get("CreatedBy", "")).replace("\t", " ")
    return table.Row(
        {
            "ID": layer["Id"] if full else table.short_id(layer["Id"]),
            "CreatedSince": spans.human(time.time() - created) + " ago" if created > 0 else "N/A",
            "CreatedAt": clock.rfc3339((created, 0)),
            "CreatedBy": command if full else table.ellipsis(command, _CREATED_BY_COLUMNS),
            "Size": sizes.decimal(layer.get("Size", 0), 3) if human else str(layer.get("Size", 0)),
            "Comment": layer.get("Comment", ""),
        }
    )


HISTORY = Command(
    "[OPTIONS] IMAGE",
    history,
    (
        FOR_LISTS,
        Flag("human", "bool", "Print sizes and dates in human readable format", "H", default=True),
        Flag("no-trunc", "bool", "Don't truncate output"),
        Flag("platform", "string", 'Show history for the given platform ("os[/arch[/variant]]")'),
        Flag("quiet", "bool", "Only show image IDs", "q"),
    ),
    least=1,
    most=1,
)
