"""`corten volume export`, `import`, `clone`, `rename` and `du`: what Docker has no commands for."""

from __future__ import annotations

import os

from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, out, write_all
from corten.cli.errors import ExitError
from corten.cli.files import write_file
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS
from corten.cli.volume.list import LISTING, row
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES = 1 << 20


def export(context: Context, options: Options, names: list[str]) -> int:
    """Write a tar to a file (which appears only when it is whole) or to stdout."""
    path = options["output"]
    if not path and os.isatty(1):
        raise ExitError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    fields: dict[str, object] = {"pause": options.on("pause")}
    response = context.engine.call("GET", f"/volumes/{quote(names[0])}/export", fields)
    if path:
        write_file(path, response, "failed to export volume")
        return 0
    for piece in response:
        write_all(1, piece)
    return 0


def import_tar(context: Context, _: Options, arguments: list[str]) -> int:
    """Make a volume of a tar file or stdin."""
    name, source = arguments[0], arguments[1] if len(arguments) > 1 else "-"
    if source == "-" and os.isatty(0):
        raise ExitError("requested import from stdin, but stdin is a terminal")
    try:
        fd = 0 if source == "-" else os.open(source, os.O_RDONLY)
    except OSError as e:
        raise ExitError(f"open {source}: {(e.strerror or '').lower()}") from e
    headers = {"Content-Type": "application/x-tar"}
    response = context.engine.call("POST", f"/volumes/{quote(name)}/import", {}, _read(fd), headers)
    for _piece in response:
        pass
    out(f"{name}\n")
    return 0


def _read(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _CHUNK_BYTES):
        yield data


def clone(context: Context, options: Options, names: list[str]) -> int:
    """Make a volume with the contents of another."""
    source, name = names
    context.engine.post(f"/volumes/{quote(source)}/clone", name=name, pause=options.on("pause"))
    out(f"{name}\n")
    return 0


def rename(context: Context, _: Options, names: list[str]) -> int:
    """Give an unused volume another name."""
    context.engine.post(f"/volumes/{quote(names[0])}/rename", name=names[1])
    return 0


def usage(context: Context, options: Options, names: list[str]) -> int:
    """Print sizes and how many containers have each volume."""
    volumes = context.engine.get("/system/df", type="volume").get("Volumes") or []
    known = {str(volume["Name"]): volume for volume in volumes}
    for name in names:
        if name not in known:
            raise ExitError(f"Error response from daemon: get {name}: no such volume")
    rows = [row(known[name]) for name in names or sorted(known)]
    out(LISTING.text(rows, options["format"], ("Name", "Links", "Size")))
    return 0


_PAUSE = Flag(
    "pause", "bool", "Let containers that have the volume stand still while it is copied", default=True
)

EXPORT = Command(
    "[OPTIONS] VOLUME",
    export,
    (Flag("output", "string", "Write to a file, instead of STDOUT", "o"), _PAUSE),
    least=1,
    most=1,
)
IMPORT = Command("VOLUME [FILE|-]", import_tar, least=1, most=2)
CLONE = Command("[OPTIONS] VOLUME NEW_VOLUME", clone, (_PAUSE,), least=2, most=2)
RENAME = Command("VOLUME NEW_NAME", rename, least=2, most=2)
USAGE = Command("[OPTIONS] [VOLUME...]", usage, (FOR_LISTS,), most=UNLIMITED)
