"""Making tar streams of directories: layers, upperdirs, exports, `docker cp`.

The order is that of the names' bytes and the attributes are those that travel, so the same tree gives
the same stream. With `overlay`, overlayfs' deletions are written as image layers have them
(`.wh.name`, `.wh..wh..opq`).
"""

from __future__ import annotations

import errno
import os
import stat

from corten.snapshots import xattrs
from corten.snapshots.errors import BadArchive
from corten.snapshots.extract import WHITEOUT, WHITEOUT_OPAQUE
from corten.snapshots.tar_reader import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    TarEntry,
)
from corten.snapshots.tar_writer import TarWriter

_READ = 1 << 20
_SMALL = 64 << 10  # bytes of a file that are written at once
_TYPE = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}


class TreeArchiver:
    """Writes trees below directory fds into one tar stream; knows hard links between them.

    `size` counts the bytes of file content written.
    """

    def __init__(self, writer: TarWriter, *, overlay: bool = False) -> None:
        self._writer = writer
        self._overlay = overlay
        self._links: dict[tuple[int, int], bytes] = {}
        self.size = 0

    def add_tree(self, dirfd: int, name: bytes = b"") -> None:
        """Everything below the directory `dirfd` is open on, under `name`.

        The directory itself is written if it has a name, or attributes that a fresh one has not. Raises
        BadArchive if directories are nested too deep.
        """
        own = os.fstat(dirfd)
        entry = self._entry(own, name or b"./", f"/proc/self/fd/{dirfd}/.")
        if name or entry.mode != 0o755 or entry.uid or entry.gid or entry.xattrs:
            entry.mtime_ns = entry.mtime_ns if name else 0
            self._writer.add(entry)
        try:
            self.children(dirfd, name)
        except RecursionError as e:
            raise BadArchive("directories are nested too deep") from e

    def add(self, parent: int, base: bytes, name: bytes, *, alone: bool = False) -> None:
        """The file `base` of the directory `parent` (with all below it, if not `alone`) under `name`.

        Sockets are left out. What vanished meanwhile is left out too.
        """
        try:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFCHR and status.st_rdev == 0 and self._overlay:
            self._deletion(name, status)
            return
        if kind not in _TYPE:
            return
        if kind == stat.S_IFDIR:
            self._directory(parent, base, name, status, alone=alone)
            return
        if kind == stat.S_IFREG:
            self._regular(parent, base, name)
            return
        entry = self._entry(status, name, f"/proc/self/fd/{parent}/{os.fsdecode(base)}")
        if status.st_nlink > 1 and self._linked(entry, status):
            return
        if kind == stat.S_IFLNK:
            entry.linkname = os.readlink(base, dir_fd=parent)
        self._writer.add(entry)

    def _linked(self, entry: TarEntry, status: os.stat_result) -> bool:
        """Write the entry as a hard link, if the same file has come before."""
        first = self._links.setdefault((status.st_dev, status.st_ino), entry.name)
        if first == entry.name:
            return False
        entry.type, entry.linkname, entry.size, entry.xattrs = HARD_LINK, first, 0, {}
        self._writer.add(entry)
        return True

    def _directory(
        self, parent: int, base: bytes, name: bytes, status: os.stat_result, *, alone: bool
    ) -> None:
        try:
            fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return  # replaced between stat and open
            raise
        try:
            self._writer.add(self._entry(status, name, f"/proc/self/fd/{fd}/."))
            if alone:
                return
            if self._overlay and _is_opaque(fd):
                marker = TarEntry(name + b"/" + WHITEOUT_OPAQUE, mode=0o600)
                self._writer.add(marker)
            self.children(fd, name)
        finally:
            os.close(fd)

    def children(self, dirfd: int, name: bytes) -> None:
        """Everything in the directory, whose own entry `name` has been written."""
        prefix = name if name.endswith(b"/") else name + b"/" if name else b""
        with os.scandir(dirfd) as found:
            children = sorted((os.fsencode(each.name), each.is_file(follow_symlinks=False)) for each in found)
        for base, is_file in children:
            if is_file:
                self._regular(dirfd, base, prefix + base)
            else:
                self.add(dirfd, base, prefix + base)

    def _deletion(self, name: bytes, status: os.stat_result) -> None:
        directory, slash, base = name.rpartition(b"/")
        self._writer.add(TarEntry(directory + slash + WHITEOUT + base, mode=0o600))

    def _regular(self, parent: int, base: bytes, name: bytes) -> None:
        """A regular file; left out if it is none any more."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(base, flags, dir_fd=parent)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                return
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return
            entry = self._entry(status, name, fd)
            if status.st_nlink > 1 and self._linked(entry, status):
                return
            if 0 < entry.size <= _SMALL:
                data = os.read(fd, entry.size)
                if len(data) == entry.size:
                    self._writer.add_bytes(entry, data)
                    self.size += entry.size
                    return
                os.lseek(fd, 0, os.SEEK_SET)
            self._writer.add(entry)
            self.size += entry.size
            left = entry.size
            # A file that grows is cut, one that shrinks is filled up: the header has gone out.
            while left and (data := os.read(fd, min(left, _READ))):
                left -= len(data)
                self._writer.content(data)
            self._writer.pad()
        finally:
            os.close(fd)

    def _entry(self, status: os.stat_result, name: bytes, file: str | int) -> TarEntry:
        """The file's entry, with the attributes of `file`, a path or an fd."""
        kind = _TYPE[stat.S_IFMT(status.st_mode)]
        entry = TarEntry(
            name,
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_size if kind == REGULAR else 0,
            status.st_mtime_ns,
            xattrs=xattrs.get_portable(file),
        )
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return entry


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, xattrs.OPAQUE) == b"y"
    except OSError as e:
        if e.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise
