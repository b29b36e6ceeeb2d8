"""`corten diff`, `corten export`, `corten commit`: what a container has made of its image."""

from __future__ import annotations

import os

from corten.cli import reference
from corten.cli.command import Command
from corten.cli.context import Context, out, write_all
from corten.cli.errors import ExitError
from corten.cli.files import write_file
from corten.cli.flags import Flag, Options
from corten.client.query import quote

_KINDS = {0: "C", 1: "A", 2: "D"}


def diff(context: Context, _: Options, names: list[str]) -> int:
    """Print what has been changed, added and deleted."""
    if not names[0]:
        raise ExitError("Container name cannot be empty")
    print_changes(context, f"/containers/{quote(names[0])}/changes")
    return 0


def print_changes(context: Context, path: str, **query: object) -> None:
    """Print the changes that the engine tells at `path`, a line each."""
    for change in context.engine.get(path, **query) or ():
        out(f"{_KINDS[int(change['Kind'])]} {change['Path']}\n")


def export(context: Context, options: Options, names: list[str]) -> int:
    """Write a container's file system to a file (which appears only when it is whole) or to stdout."""
    path = options["output"]
    if not path and os.isatty(1):
        raise ExitError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if path:
        parent = os.path.dirname(os.path.normpath(path))
        if parent and not os.path.exists(parent):
            raise ExitError(
                f"failed to export container: invalid output path: stat {parent}: no such file or directory"
            )
    pieces = context.engine.call("GET", f"/containers/{quote(names[0])}/export")
    if path:
        write_file(path, pieces, "failed to export container")
        return 0
    for piece in pieces:
        write_all(1, piece)
    return 0


def commit(context: Context, options: Options, arguments: list[str]) -> int:
    """Make an image of a container and print its id."""
    repository, tag = _name(arguments[1]) if len(arguments) > 1 and arguments[1] else ("", "")
    fields: dict[str, object] = {
        "container": arguments[0],
        "repo": repository or None,
        "tag": tag or None,
        "comment": options["message"] or None,
        "author": options["author"] or None,
        "changes": options.items("change"),
        "pause": None if options.on("pause") else 0,
    }
    out(f"{context.engine.post('/commit', **fields)['Id']}\n")
    return 0


def _name(text: str) -> tuple[str, str]:
    """Repository and tag. Raises ExitError."""
    from corten.reference import InvalidReference, parse_normalized

    try:
        if parse_normalized(text).digest is not None:
            raise ExitError("refusing to create a tag with a digest reference")
    except InvalidReference as e:
        raise ExitError(str(e)) from e
    repository, tag, _ = reference.split(text)
    return repository, tag or "latest"


DIFF = Command("CONTAINER", diff, least=1, most=1)
EXPORT = Command(
    "[OPTIONS] CONTAINER",
    export,
    (Flag("output", "string", "Write to a file, instead of STDOUT", "o"),),
    least=1,
    most=1,
)
COMMIT = Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    commit,
    (
        Flag("author", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', "a"),
        Flag("change", "list", "Apply Dockerfile instruction to the created image", "c"),
        Flag("message", "string", "Commit message", "m"),
        Flag("pause", "bool", "Pause container during commit", "p", default=True),
    ),
    least=1,
    most=2,
)
