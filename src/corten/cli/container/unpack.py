"""Unpacking what an engine sends into a local directory, which nothing in it can lead out of.

Files belong to whoever unpacks them. Every directory on the way is opened without following links, so an
archive that brings a link and then a file "behind" it is refused.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile

from corten.cli.errors import ExitError
from corten.cli.pieces import PieceReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import IO

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_NODES = {tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}


def unpack(pieces: Iterable[bytes], directory: str, rename: Callable[[str], str]) -> None:
    """Unpack a tar into `directory` (which exists), each name as `rename` has it. Raises ExitError."""
    try:
        root = os.open(directory, _DIR & ~os.O_NOFOLLOW)
    except OSError as e:
        raise ExitError(f"{directory}: {(e.strerror or '').lower()}") from e
    unpacking = _Unpacking(root)
    try:
        with tarfile.open(fileobj=PieceReader(pieces), mode="r|") as archive:
            for member in archive:
                name = _inside(rename(member.name))
                link = _inside(rename(member.linkname)) if member.islnk() else member.linkname
                unpacking.add(member, name, link, archive.extractfile(member) if member.isreg() else None)
        unpacking.finish()
    except tarfile.TarError as e:
        raise ExitError(f"error reading archive: {e}") from e
    except OSError as e:
        raise ExitError(f"{e.filename or directory}: {(e.strerror or str(e)).lower()}") from e
    finally:
        os.close(root)


class _Unpacking:
    def __init__(self, root: int) -> None:
        self._root = root
        self._directories: list[tuple[list[str], tarfile.TarInfo]] = []

    def add(
        self, member: tarfile.TarInfo, name: list[str], link: str | list[str], data: IO[bytes] | None
    ) -> None:
        """Make one entry."""
        if not name:
            if member.isdir():
                self._directories.append((name, member))
            return
        parent = self._open(name[:-1], make=True)
        try:
            self._make(parent, name, member, link, data)
        finally:
            os.close(parent)

    def _make(
        self,
        parent: int,
        name: list[str],
        member: tarfile.TarInfo,
        link: str | list[str],
        data: IO[bytes] | None,
    ) -> None:
        base = name[-1]
        if member.isdir():
            if not _room_for_directory(parent, name):
                os.mkdir(base, 0o700, dir_fd=parent)
            self._directories.append((name, member))
            return
        _make_room(parent, name)
        if data is not None:
            _write_file(parent, base, member, data)
        elif member.issym():
            os.symlink(member.linkname, base, dir_fd=parent)
            os.utime(base, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
        elif isinstance(link, list):
            source = self._open(link[:-1], make=False)
            try:
                os.link(link[-1], base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
        elif member.type in _NODES:
            os.mknod(
                base,
                _NODES[member.type] | member.mode & 0o777,
                os.makedev(member.devmajor, member.devminor),
                dir_fd=parent,
            )

    def finish(self) -> None:
        """Directories get their modes and times when everything is in them."""
        for name, member in reversed(self._directories):
            fd = self._open(name, make=False)
            try:
                os.fchmod(fd, member.mode & 0o7777)
                os.utime(fd, (member.mtime, member.mtime))
            finally:
                os.close(fd)

    def _open(self, parts: list[str], *, make: bool) -> int:
        """A directory below the root, no link on the way."""
        current = os.dup(self._root)
        for part in parts:
            try:
                try:
                    child = os.open(part, _DIR, dir_fd=current)
                except FileNotFoundError:
                    if not make:
                        raise
                    os.mkdir(part, 0o777, dir_fd=current)
                    child = os.open(part, _DIR, dir_fd=current)
            except OSError as e:
                if e.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise ExitError(f"invalid path in archive: {'/'.join(parts)} leads through a link") from e
                raise
            finally:
                os.close(current)
            current = child
        return current


def _write_file(parent: int, base: str, member: tarfile.TarInfo, data: IO[bytes]) -> None:
    fd = os.open(base, _CREATE, 0o600, dir_fd=parent)
    with open(fd, "wb", buffering=0) as file:
        while piece := data.read(_CHUNK_BYTES):
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
        os.fchmod(fd, member.mode & 0o7777)
        os.utime(fd, (member.mtime, member.mtime))


def _room_for_directory(parent: int, name: list[str]) -> bool:
    """Whether the directory is there already. Raises ExitError if something else is."""
    try:
        found = os.stat(name[-1], dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        path = "/".join(name)
        raise ExitError(f'cannot overwrite non-directory "{path}" with directory "{path}"')
    return True


def _make_room(parent: int, name: list[str]) -> None:
    try:
        found = os.stat(name[-1], dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        path = "/".join(name)
        raise ExitError(f'cannot overwrite directory "{path}" with non-directory "{path}"')
    os.unlink(name[-1], dir_fd=parent)


def _inside(name: str) -> list[str]:
    """The parts of a name; one that would leave the directory is refused."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ExitError(f"invalid path in archive: {name}")
    return parts
