"""`corten checkpoint create`, `ls` and `rm`."""

from __future__ import annotations

from corten.cli import table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS
from corten.client.query import quote

LISTING = table.Listing(("Name",), {"Name": "CHECKPOINT NAME"})


def create(context: Context, options: Options, names: list[str]) -> int:
    """Write a checkpoint of a running container and print its name."""
    container, name = names
    body = {
        "CheckpointID": name,
        "CheckpointDir": options["checkpoint-dir"],
        "Exit": not options.on("leave-running"),
    }
    context.engine.post(f"/containers/{quote(container)}/checkpoints", body=body)
    out(f"{name}\n")
    return 0


def show(context: Context, options: Options, names: list[str]) -> int:
    """List a container's checkpoints."""
    path = f"/containers/{quote(names[0])}/checkpoints"
    found = context.engine.get(path, dir=options["checkpoint-dir"] or None)
    out(LISTING.text([table.Row({"Name": each["Name"]}) for each in found or ()], options["format"]))
    return 0


def remove(context: Context, options: Options, names: list[str]) -> int:
    """Delete a checkpoint."""
    container, name = names
    path = f"/containers/{quote(container)}/checkpoints/{quote(name)}"
    context.engine.delete(path, dir=options["checkpoint-dir"] or None)
    return 0


_DIRECTORY = Flag("checkpoint-dir", "string", "Use a custom checkpoint storage directory")

CREATE = Command(
    "[OPTIONS] CONTAINER CHECKPOINT",
    create,
    (_DIRECTORY, Flag("leave-running", "bool", "Leave the container running after checkpoint")),
    least=2,
    most=2,
)
LIST = Command("[OPTIONS] CONTAINER", show, (_DIRECTORY, FOR_LISTS), least=1, most=1)
REMOVE = Command("[OPTIONS] CONTAINER CHECKPOINT", remove, (_DIRECTORY,), least=2, most=2)
