"""Build contexts: a folder, or a Dockerfile alone, as a tar stream made while it is sent."""

from __future__ import annotations

import os

from corten.cli.errors import ExitError
from corten.cli.image.ignore import Ignore, IgnoreError
from corten.cli.tarstream import END, TarStream, single_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
IGNORE_FILE = ".dockerignore"


def is_archive(head: bytes) -> bool:
    """Whether bytes (at least 262 of them) begin a tar file, plain or compressed."""
    return head.startswith(_ARCHIVES) or head[257:262] == b"ustar"


def read_ignore(folder: str, dockerfile: str) -> tuple[Ignore, str]:
    """A context's rules and the name of their file: `<Dockerfile>.dockerignore`, else `.dockerignore`."""
    for name in (f"{dockerfile}.dockerignore", IGNORE_FILE):
        try:
            with open(os.path.join(folder, name), encoding="utf-8-sig") as f:
                return Ignore(f.read().splitlines()), name
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, IgnoreError, UnicodeDecodeError) as e:
            raise ExitError(f"error checking context: {e}") from e
    return Ignore(()), ""


def folder_stream(
    folder: str, ignore: Ignore, always: frozenset[str], others: Mapping[str, str] | None = None
) -> Iterator[bytes]:
    """The tar of a folder; `always` goes in whatever the rules say (the engine needs the Dockerfile).

    `others`: further folders by the path that they have in the tar, each with its own `.dockerignore`.
    """
    yield from _entries(folder, _walk(folder, "", ignore, always), "")
    for above, other in (others or {}).items():
        rules, _ = read_ignore(other, "Dockerfile")
        yield from _entries(other, ("", *_walk(other, "", rules, frozenset())), above)
    yield END


def _entries(folder: str, paths: Iterable[str], above: str) -> Iterator[bytes]:
    stream = TarStream(attributes=False)
    for path in paths:
        full = os.path.join(folder, path)
        try:
            yield from stream.entry(full, f"{above}/{path}".strip("/"))
        except OSError as e:
            raise ExitError(f"error checking context: can't stat '{full}'") from e


def _walk(folder: str, below: str, ignore: Ignore, always: frozenset[str]) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(os.path.join(folder, below)), key=lambda e: e.name)
    except OSError as e:
        raise ExitError(f"error checking context: can't stat '{e.filename}'") from e
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        excluded = bool(ignore) and ignore.excludes(path)
        if entry.is_dir(follow_symlinks=False):
            wanted = any(name.startswith(path + "/") for name in always)
            if not excluded or wanted or not ignore.prunes(path):
                if not excluded:
                    yield path
                yield from _walk(folder, path, ignore, always)
        elif not excluded or path in always:
            yield path


def dockerfile_stream(name: str, data: bytes) -> Iterator[bytes]:
    """A context that is nothing but a Dockerfile."""
    yield from single_file(name, data)
    yield END


def with_extra_file(stream: Iterator[bytes], name: str, data: bytes) -> Iterator[bytes]:
    """A context with one more file in front of it."""
    yield from single_file(name, data)
    yield from stream
