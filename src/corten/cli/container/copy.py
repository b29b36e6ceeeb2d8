"""`corten cp`: files between a container and this machine, in either direction.

The engine knows archives only; what an archive's names have to be, and where it is unpacked, follows from
what source and destination are. Source: Docker's reference of `docker cp`, and its behaviour.
"""

from __future__ import annotations

import os
import stat

from corten.cli import sizes
from corten.cli.command import Command
from corten.cli.context import Context, err, write_all
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client import jsontext
from corten.client.errors import APIError
from corten.client.query import quote
from corten.wire import archivepath
from corten.wire.gomode import MODE_DEVICE, MODE_DIR, MODE_SYMLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from corten.client.engine import Engine
    from corten.client.http import Response

_CHUNK_BYTES = 1 << 20
_MAX_LINKS = 10


class End:
    """One end of the copy: its path, whether it exists, as a directory.

    name: the first part of its archive's names, where that is not the path's own last part.
    """

    __slots__ = ("exists", "is_dir", "name", "path")

    def __init__(self, path: str, *, exists: bool = False, is_dir: bool = False, name: str = "") -> None:
        self.path, self.exists, self.is_dir, self.name = path, exists, is_dir, name


def copy(context: Context, options: Options, arguments: list[str]) -> int:
    """Copy from or to a container."""
    for what, text in zip(("source", "destination"), arguments, strict=True):
        if not text:
            raise ExitError(f"{what} can not be empty")
    (source_container, source), (container, destination) = map(_split_argument, arguments)
    if source_container and container:
        raise ExitError("copying between containers is not supported")
    if not source_container and not container:
        raise ExitError("must specify at least one container source")
    quiet = options.on("quiet") if options.given("quiet") else not os.isatty(1)
    follow = options.on("follow-link")
    if source_container:
        _copy_out(
            _Container(context.engine, source_container), source, destination, follow=follow, quiet=quiet
        )
    else:
        _copy_in(
            _Container(context.engine, container), source, destination,
            follow=follow, own=options.on("archive"), quiet=quiet,
        )  # fmt: skip
    return 0


def _split_argument(text: str) -> tuple[str, str]:
    """("", path) or (container, path); a path with a colon begins with "/" or "."."""
    container, colon, path = text.partition(":")
    if text.startswith("/") or not colon or container.startswith("."):
        return "", text
    return container, path


class _Container:
    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def _path(self) -> str:
        return f"/containers/{quote(self.name)}/archive"

    def stat(self, path: str) -> dict[str, Any]:
        """What a path names. Raises APIError."""
        return _stat(self._engine.call("HEAD", self._path(), {"path": path}))

    def get(self, path: str) -> tuple[dict[str, Any], Response]:
        """What the path names, and its archive. Raises APIError."""
        response = self._engine.call("GET", self._path(), {"path": path})
        return _stat(response), response

    def put(self, directory: str, archive: Iterable[bytes], *, own: bool) -> None:
        """Unpack an archive. Raises APIError."""
        fields: dict[str, object] = {"path": directory, "noOverwriteDirNonDir": "true"}
        if own:
            fields["copyUIDGID"] = "true"
        self._engine.call("PUT", self._path(), fields, archive, {"Content-Type": "application/x-tar"}).read()


def _stat(response: Response) -> dict[str, Any]:
    import binascii

    text = binascii.a2b_base64(response.headers.get("x-docker-container-path-stat", ""))
    value = jsontext.loads(text)
    if not isinstance(value, dict):
        raise ExitError("unable to decode container path stat header")
    return value


# -- container → here ---------------------------------------------------------------------------


def _copy_out(container: _Container, source: str, destination: str, *, follow: bool, quiet: bool) -> None:
    if destination != "-":
        destination = _absolute(destination)
    _validate_output(destination)
    name = ""
    if follow:
        source, name = _followed(container, source)
    found, response = container.get(source)
    if destination == "-":
        for piece in response:
            write_all(1, piece)
        return
    progress = _Progress("Copying from container - ", quiet=quiet)
    begin = End(source, exists=True, is_dir=bool(found["mode"] & MODE_DIR), name=name)
    renames = [(archivepath.split(source)[1], name)] if name else []
    directory, rename = _placed(begin, _local_destination(destination))
    if rename:
        renames.append(rename)
    from corten.cli.container.unpack import unpack

    unpack(progress.counted(response), directory, _renamer(renames))
    progress.done(destination)


def _followed(container: _Container, source: str) -> tuple[str, str]:
    """Where a link leads to, and the name that the copy keeps."""
    try:
        found = container.stat(source)
    except APIError:
        return source, ""
    if not found["mode"] & MODE_SYMLINK:
        return source, ""
    target = str(found["linkTarget"])
    if not target.startswith("/"):
        target = archivepath.clean(f"{archivepath.split(source)[0]}/{target}")
    target = archivepath.keep_ending(target, source)
    name = archivepath.base(source)
    return target, name if name != archivepath.base(target) else ""


def _local_destination(path: str) -> End:
    """What is at the destination, links followed. Raises ExitError if not even its parent is there."""
    original = path
    for _ in range(_MAX_LINKS + 2):
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            parent = archivepath.split(path)[0]
            try:
                if not stat.S_ISDIR(os.stat(parent).st_mode):
                    raise ExitError("not a directory")
            except OSError as e:
                raise ExitError(f"stat {parent}: {(e.strerror or '').lower()}") from e
            return End(path)
        except OSError as e:
            raise ExitError(f"lstat {path}: {(e.strerror or '').lower()}") from e
        if not stat.S_ISLNK(mode):
            return End(path, exists=True, is_dir=stat.S_ISDIR(mode))
        path = os.path.join(archivepath.split(path)[0], os.readlink(path))
    raise ExitError(f"too many symlinks in {original}")


def _validate_output(path: str) -> None:
    parent = os.path.dirname(os.path.normpath(path))
    if parent and not os.path.exists(parent):
        raise ExitError(f'invalid output path: directory "{parent}" does not exist')
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as e:
        raise ExitError(f"stat {path}: {(e.strerror or '').lower()}") from e
    if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        raise ExitError(f'invalid output path: "{path}" must be a directory or a regular file: got a device')


# -- here → container ---------------------------------------------------------------------------


def _copy_in(
    container: _Container, source: str, destination: str, *, follow: bool, own: bool, quiet: bool
) -> None:
    end = _remote_destination(container, destination)
    if source == "-":
        if not end.is_dir:
            raise ExitError(f'destination "{container.name}:{destination}" must be a directory')
        container.put(end.path, _stdin(), own=own)
        return
    begin = _local_source(_absolute(source), follow=follow)
    directory, rename = _placed(begin, end)
    progress = _Progress("Copying to container - ", quiet=quiet)
    archive = _archive(begin, _renamer([rename] if rename else []))
    container.put(directory, progress.counted(archive), own=own)
    progress.done(f"{container.name}:{end.path}")


def _remote_destination(container: _Container, path: str) -> End:
    """What is at the destination, a link followed. Errors are left to the copying, which may work."""
    end = End(path)
    try:
        found = container.stat(path)
        if found["mode"] & MODE_SYMLINK:
            target = str(found["linkTarget"])
            if not target.startswith("/"):
                target = archivepath.clean(f"{archivepath.split(path)[0]}/{target}")
            end.path = target
            found = container.stat(target)
    except APIError:
        return end
    if found["mode"] & MODE_DEVICE:
        raise ExitError(
            f'destination "{container.name}:{path}" must be a directory or a regular file: got a device'
        )
    end.exists, end.is_dir = True, bool(found["mode"] & MODE_DIR)
    return end


def _local_source(path: str, *, follow: bool) -> End:
    """The source; links on the way are followed, at its end only with `follow`. Raises ExitError."""
    name = ""
    try:
        if follow:
            resolved = archivepath.keep_ending(os.path.realpath(path, strict=True), path)
            if archivepath.base(path) != archivepath.base(resolved):
                name = archivepath.base(path)
        else:
            directory, _, base = path.rpartition("/")
            resolved = os.path.join(os.path.realpath(directory or "/", strict=True), base)
            if path.endswith("/") and archivepath.base(path) != archivepath.base(resolved):
                name = archivepath.base(path)
        mode = os.lstat(resolved).st_mode
    except OSError as e:
        raise ExitError(f"lstat {e.filename or path}: {(e.strerror or '').lower()}") from e
    return End(resolved, exists=True, is_dir=stat.S_ISDIR(mode), name=name)


def _archive(source: End, rename: Callable[[str], str]) -> Iterator[bytes]:
    """The source as a tar whose names begin with its last part."""
    from corten.cli.tarstream import END, TarStream

    directory, base = archivepath.split(source.path)
    stream = TarStream(attributes=True)
    waiting = [(os.path.join(directory, base), source.name or base)]
    while waiting:
        path, name = waiting.pop()
        try:
            yield from stream.entry(path, rename(name))
            if os.path.isdir(path) and not os.path.islink(path):
                children = sorted(os.listdir(path), reverse=True)
                waiting += [(os.path.join(path, child), f"{name}/{child}") for child in children]
        except OSError as e:
            raise ExitError(f"can't copy {path}: {(e.strerror or '').lower()}") from e
    yield END


def _stdin() -> Iterator[bytes]:
    while data := os.read(0, _CHUNK_BYTES):
        yield data


# -- both ---------------------------------------------------------------------------------------


def _placed(source: End, destination: End) -> tuple[str, tuple[str, str] | None]:
    """Where the archive is unpacked, and which first part of its names becomes which. Raises ExitError."""
    if destination.exists and destination.is_dir:
        return destination.path, None
    if destination.exists and source.is_dir:
        raise ExitError("cannot copy directory")
    wants_directory = destination.path.endswith("/") or archivepath.base(destination.path) == "."
    if not destination.exists and not source.is_dir and wants_directory:
        raise ExitError("no such directory")
    directory, base = archivepath.split(destination.path)
    return directory, (source.name or archivepath.split(source.path)[1], base)


def _renamer(renames: list[tuple[str, str]]) -> Callable[[str], str]:
    """Replace the first part of names, one rule after the other."""

    def rename(name: str) -> str:
        for old, new in renames:
            if old == "/":
                name = f"{new}/{name.lstrip('/')}"
            elif name == old or name.startswith(f"{old}/"):
                name = new + name[len(old) :]
        return name

    return rename


def _absolute(path: str) -> str:
    return archivepath.keep_ending(os.path.abspath(path), path)


class _Progress:
    """How much has been copied, on stderr, for who looks at it."""

    def __init__(self, title: str, *, quiet: bool) -> None:
        self._title = title
        self._quiet = quiet
        self._live = not quiet and os.isatty(2)
        self._shown = ""
        self._bytes = 0

    def counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, counted on their way."""
        for piece in pieces:
            self._bytes += len(piece)
            self._show()
            yield piece

    def _show(self) -> None:
        text = f"{self._title}{sizes.decimal(self._bytes, 3)}"
        if self._live and text != self._shown:
            err(f"\r\x1b[2K{text}")
            self._shown = text

    def done(self, where: str) -> None:
        """All is there."""
        if self._shown:
            err("\r\x1b[2K")
        if not self._quiet:
            err(f"Successfully copied {sizes.decimal(self._bytes, 3)} to {where}\n")


COPY = Command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcorten cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    copy,
    (
        Flag("archive", "bool", "Archive mode (copy all uid/gid information)", "a"),
        Flag("follow-link", "bool", "Always follow symbol link in SRC_PATH", "L"),
        Flag(
            "quiet",
            "bool",
            "Suppress progress output during copy. Progress output is automatically suppressed if no "
            "terminal is attached",
            "q",
        ),
    ),
    least=2,
    most=2,
    note="Use '-' as the source to read a tar archive from stdin\nand extract it to a directory destination "
    "in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
)
