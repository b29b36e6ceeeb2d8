"""Copying directory trees that somebody hostile has made, however deep, by descriptors alone.

Two descriptors are open at a time, one in the source and one in the copy; the way up is "..", and what is
found there must be what we came from, so moving directories about under our feet ends the copy instead of
leading it elsewhere. Owner, mode, times, extended attributes and hard links are kept; sockets are left out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TypeAlias

from corten.linux.deletion import empty_directory
from corten.linux.files import copy_content
from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_PRIVATE_XATTRS = ("trusted.overlay.", "user.overlay.")
_NO_XATTRS = (errno.ENOTSUP, errno.EPERM)
_CAPABILITY = "security.capability"
_PATH_MAX = 4000

Owners: TypeAlias = Callable[[int, int], tuple[int, int]]
"""uid and gid of a file's copy."""


class TreeCopy:
    """Lays directories over one destination, the lower ones first.

    layered: the sources are layers of overlayfs: whiteouts (character devices 0/0) and opaque directories
    remove what lies below. `files` counts what was written.
    """

    def __init__(self, destination: int, *, layered: bool = False, owners: Owners | None = None) -> None:
        """destination: fd of a directory; stays the caller's. owners: of the copies; None = the sources'."""
        self._root = destination
        self._layered = layered
        self._owners = owners
        self._links: dict[tuple[int, int], tuple[str, int]] = {}  # of sources: (path in the copy, inode)
        self.files = 0

    def add(self, source: int) -> None:
        """Lay the directory `source` (an fd, the caller's) over what is there; it becomes the root's twin."""
        here, there = os.dup(source), os.dup(self._root)
        way = [_Level("", here, there)]
        try:
            while True:
                if way[-1].names:
                    name = way[-1].names.pop()
                    if self._place(name, here, there, way):
                        here, there = _into(name, here), _into(name, there)
                        if self._layered and is_opaque(here):
                            empty_directory(there)
                        way.append(_Level(name, here, there))
                    continue
                copy_attributes(here, there, self._owners)
                way.pop()
                if not way:
                    return
                here, there = _out_of(here, way[-1].source), _out_of(there, way[-1].copy)
        finally:
            os.close(here)
            os.close(there)

    def _place(self, name: str, here: int, there: int, way: list[_Level]) -> bool:
        """Copy one entry. True if it is a directory (made by now) whose contents are to follow."""
        status = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            _make_directory(name, there)
            return True
        remove_entry(name, there)
        if self._layered and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            return False
        if status.st_nlink > 1 and self._link(name, status, there):
            return False
        if stat.S_ISREG(status.st_mode):
            _copy_file(name, here, there, self._owners)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
        elif stat.S_ISSOCK(status.st_mode):
            return False
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=there)
        self.files += 1
        if not stat.S_ISREG(status.st_mode):
            _set_owner_and_times(name, status, there, self._owners)
        if status.st_nlink > 1:
            self._remember(name, status, there, way)
        return False

    def _remember(self, name: str, status: os.stat_result, there: int, way: list[_Level]) -> None:
        path = "/".join([*(level.name for level in way[1:]), name])
        if len(path) < _PATH_MAX:
            copied = os.stat(name, dir_fd=there, follow_symlinks=False).st_ino
            self._links[(status.st_dev, status.st_ino)] = (path, copied)

    def _link(self, name: str, status: os.stat_result, there: int) -> bool:
        """Make a hard link if the file was copied under another name (and is still there)."""
        path, inode = self._links.get((status.st_dev, status.st_ino), ("", 0))
        if not path:
            return False
        try:
            fd = open_beneath(
                self._root,
                path,
                os.O_PATH | os.O_NOFOLLOW,
                resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
            )
        except OSError:
            return False
        try:
            if os.fstat(fd).st_ino != inode:
                return False
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=there, follow_symlinks=True)
        finally:
            os.close(fd)
        return True


class _Level:
    """One directory on the way down: what is still to be done in it, and how to know it again."""

    __slots__ = ("copy", "name", "names", "source")

    def __init__(self, name: str, source: int, copy: int) -> None:
        self.name = name
        self.names = os.listdir(source)
        self.source, self.copy = _identity(source), _identity(copy)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _into(name: str, fd: int) -> int:
    """Go down; `fd` is closed."""
    inner = os.open(name, _DIRECTORY, dir_fd=fd)
    os.close(fd)
    return inner


def _out_of(fd: int, expected: tuple[int, int]) -> int:
    """Go up; `fd` is closed. Raises ESTALE if the directory was moved elsewhere meanwhile."""
    outer = os.open("..", _DIRECTORY, dir_fd=fd)
    if _identity(outer) != expected:
        os.close(outer)
        raise OSError(errno.ESTALE, "a directory was moved while it was copied")
    os.close(fd)
    return outer


def _make_directory(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)


def _copy_file(name: str, source: int, destination: int, owners: Owners | None = None) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    try:
        if not stat.S_ISREG(os.fstat(reading).st_mode):  # swapped for a device: its contents are the host's
            raise OSError(errno.ESTALE, "a file was replaced while it was copied", name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writing = os.open(name, flags, 0o600, dir_fd=destination)
        try:
            copy_content(reading, writing)
            copy_attributes(reading, writing, owners)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy_attributes(source: int, destination: int, owners: Owners | None = None) -> None:
    """Owner, mode, extended attributes and times, from one fd to the other."""
    status = os.fstat(source)
    os.fchown(destination, *_owner(status, owners))
    os.fchmod(destination, stat.S_IMODE(status.st_mode))
    try:
        names = os.listxattr(source)
    except OSError:
        names = []
    for name in names:
        if name.startswith(_PRIVATE_XATTRS):
            continue
        try:
            value = os.getxattr(source, name)
            if owners is not None and name == _CAPABILITY:
                value = _capability_of(value, owners(0, 0)[0])
            os.setxattr(destination, name, value)
        except OSError as e:
            if e.errno not in _NO_XATTRS:
                raise
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


def _owner(status: os.stat_result, owners: Owners | None) -> tuple[int, int]:
    ids = status.st_uid, status.st_gid
    return ids if owners is None else owners(*ids)


def _capability_of(value: bytes, root: int) -> bytes:
    """File capabilities that only count where `root` is root: VFS_CAP_REVISION_3 of linux/capability.h."""
    magic = int.from_bytes(value[:4], "little")
    if magic >> 24 != 2:
        return value
    return (magic & 0xFFFFFF | 3 << 24).to_bytes(4, "little") + value[4:20] + root.to_bytes(4, "little")


def _set_owner_and_times(
    name: str, status: os.stat_result, parent: int, owners: Owners | None = None
) -> None:
    os.chown(name, *_owner(status, owners), dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        # Whoever has the volume already may put a link in its place: chmod(2) would follow it.
        made = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(made).st_mode) == stat.S_IFMT(status.st_mode):
                os.chmod(f"/proc/self/fd/{made}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(made)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)


def is_opaque(fd: int) -> bool:
    """Whether an overlayfs layer's directory hides what lies below."""
    for name in _OPAQUE:
        try:
            if os.getxattr(fd, name) in (b"y", b"x"):
                return True
        except OSError:
            continue
    return False


def remove_entry(name: str, parent: int) -> None:
    """Remove a file, link or tree; nothing there is fine."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            empty_directory(fd)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=parent)
