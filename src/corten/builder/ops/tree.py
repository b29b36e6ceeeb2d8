"""Walking a tree of files below a directory fd, nothing followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from corten.snapshots.xattrs import is_portable

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(NamedTuple):
    """A file: its name in the directory that `parent` is open on, its path from the start of the walk."""

    parent: int
    name: str
    path: str
    status: os.stat_result

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)


def open_directory(parent: int, name: str) -> int:
    """An fd of a directory that is not a symlink."""
    return os.open(name, _DIR, dir_fd=parent)


def portable_xattrs(fd: int) -> dict[bytes, bytes]:
    """The extended attributes of an open file that belong to it and not to this machine, sorted."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            return {}
        raise
    return {os.fsencode(name): os.getxattr(fd, name) for name in sorted(names) if is_portable(name)}


def children(dirfd: int, path: str) -> Iterator[Entry]:
    """The directory's entries, sorted by the bytes of their names, so that a walk is reproducible."""
    for name in sorted(os.listdir(dirfd), key=os.fsencode):
        status = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        yield Entry(dirfd, name, f"{path}/{name}" if path else name, status)
