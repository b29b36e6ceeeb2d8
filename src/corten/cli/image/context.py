"""Build contexts: a folder, or a Dockerfile alone, as a tar stream made while it is sent."""

from __future__ import annotations

import os
import stat
import tarfile

from corten.cli.errors import ExitError
from corten.cli.image.ignore import Ignore, IgnoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES = 1 << 20
_END = b"\0" * 1024
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


def folder_stream(folder: str, ignore: Ignore, always: frozenset[str]) -> Iterator[bytes]:
    """The tar of a folder; `always` goes in whatever the rules say (the engine needs the Dockerfile)."""
    links: dict[tuple[int, int], str] = {}
    for path in _walk(folder, "", ignore, always):
        yield from _entry(folder, path, links)
    yield _END


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


def _entry(folder: str, path: str, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    full = os.path.join(folder, path)
    info = tarfile.TarInfo(path)
    try:
        found = os.lstat(full)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFSOCK:
            return  # cannot be archived; Docker leaves them out too
        info.mode = stat.S_IMODE(found.st_mode)
        info.mtime = int(found.st_mtime)
        info.type = _TYPES.get(kind, tarfile.REGTYPE)
        key = (found.st_dev, found.st_ino)
        if kind == stat.S_IFLNK:
            info.linkname = os.readlink(full)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            info.devmajor, info.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
        elif kind == stat.S_IFREG and found.st_nlink > 1 and key in links:
            info.type, info.linkname = tarfile.LNKTYPE, links[key]
        elif kind == stat.S_IFREG:
            links[key] = path
            info.size = found.st_size
            yield from _file(full, info)
            return
    except OSError as e:
        raise ExitError(f"error checking context: can't stat '{full}'") from e
    yield _head(info)


_TYPES = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def _head(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _file(path: str, info: tarfile.TarInfo) -> Iterator[bytes]:
    """A regular file: exactly as many bytes as its head promises, even if it changes meanwhile."""
    with open(path, "rb", buffering=0) as f:
        yield _head(info)
        left = info.size
        while left > 0:
            data = f.read(min(_CHUNK_BYTES, left)) or b"\0" * min(_CHUNK_BYTES, left)
            left -= len(data)
            yield data
    yield b"\0" * (-info.size % 512)


def single_file(name: str, data: bytes) -> Iterator[bytes]:
    """The entry of one file made of bytes."""
    info = tarfile.TarInfo(name)
    info.mode, info.size = 0o600, len(data)
    yield _head(info)
    yield data
    yield b"\0" * (-len(data) % 512)


def dockerfile_stream(name: str, data: bytes) -> Iterator[bytes]:
    """A context that is nothing but a Dockerfile."""
    yield from single_file(name, data)
    yield _END


def with_extra_file(stream: Iterator[bytes], name: str, data: bytes) -> Iterator[bytes]:
    """A context with one more file in front of it."""
    yield from single_file(name, data)
    yield from stream
