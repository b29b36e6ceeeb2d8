"""`corten save`, `corten load`, `corten import`: images and file systems as tar archives."""

from __future__ import annotations

import os

from corten.cli import progress, reference
from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, write_all
from corten.cli.errors import ExitError
from corten.cli.files import write_file
from corten.cli.flags import Flag, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK_BYTES = 1 << 20


def save(context: Context, options: Options, names: list[str]) -> int:
    """Write images to a file (which appears only when it is whole) or to stdout."""
    save_file(context, names, options["output"], options.items("platform"))
    return 0


def save_file(context: Context, names: list[str], path: str, platforms: list[str]) -> None:
    """Write images to a file, or to stdout without a path."""
    if not path and os.isatty(1):
        raise ExitError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    fields: dict[str, object] = {"names": names, "platform": _platforms(platforms)}
    response = context.engine.call("GET", "/images/get", fields)
    if not path:
        for piece in response:
            write_all(1, piece)
        return
    write_file(path, response, "failed to save image")


def load(context: Context, options: Options, _: list[str]) -> int:
    """Load images from a file or stdin."""
    load_file(context, options["input"], options.items("platform"), quiet=options.on("quiet"))
    return 0


def load_file(context: Context, path: str, platforms: list[str], *, quiet: bool = False) -> None:
    """Load images from a file, or from stdin without a path."""
    fd = 0
    if path:
        fd = _open(path)
    elif os.isatty(0):
        raise ExitError("requested load from stdin, but stdin is empty")
    fields: dict[str, object] = {"quiet": quiet or not os.isatty(1), "platform": _platforms(platforms)}
    headers = {"Content-Type": "application/x-tar"}
    response = context.engine.call("POST", "/images/load", fields, _read(fd), headers)
    if "json" in response.headers.get("content-type", ""):
        progress.show(response, 1)
        return
    for piece in response:
        write_all(1, piece)


def import_archive(context: Context, options: Options, arguments: list[str]) -> int:
    """Make an image of one layer from a tar file, stdin (`-`) or a URL that the engine fetches."""
    source = arguments[0]
    body: bytes | Iterable[bytes] = b""
    shown = "-"
    if source == "-":
        body = _read(0)
    elif "://" in source:
        shown = source
    else:
        body = _read(_open(source))
    repository, tag, _ = reference.split(arguments[1]) if len(arguments) > 1 else ("", "", "")
    fields: dict[str, object] = {
        "fromSrc": shown,
        "repo": repository or None,
        "tag": tag or None,
        "message": options["message"] or None,
        "changes": options.items("change"),
        "platform": options["platform"] or None,
    }
    progress.show(context.engine.call("POST", "/images/create", fields, body), 1)
    return 0


def _platforms(texts: list[str]) -> list[str]:
    return [encoded for encoded in map(_platform, texts) if encoded is not None]


def _platform(text: str) -> str | None:
    if not text:
        return None
    from corten.cli.image.platform import encode

    return encode(text)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        raise ExitError(f"open {path}: {(e.strerror or '').lower()}") from e


def pieces_of(path: str) -> Iterator[bytes]:
    """A file's content. Raises ExitError."""
    return _read(_open(path))


def _read(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _CHUNK_BYTES):
        yield data
    if fd > 2:
        os.close(fd)


_PLATFORM = 'Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")'

SAVE = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    save,
    (
        Flag("output", "string", "Write to a file, instead of STDOUT", "o"),
        Flag("platform", "strings", f"Save only the given platform variants. {_PLATFORM}"),
    ),
    least=1,
    most=UNLIMITED,
)
LOAD = Command(
    "[OPTIONS]",
    load,
    (
        Flag("input", "string", "Read from tar archive file, instead of STDIN", "i"),
        Flag("platform", "strings", f"Load only the given platform variants. {_PLATFORM}"),
        Flag("quiet", "bool", "Suppress the load output", "q"),
    ),
)
IMPORT = Command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    import_archive,
    (
        Flag("change", "list", "Apply Dockerfile instruction to the created image", "c"),
        Flag("message", "string", "Set commit message for imported image", "m"),
        Flag("platform", "string", "Set platform if server is multi-platform capable"),
    ),
    least=1,
    most=2,
)
