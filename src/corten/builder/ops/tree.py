"""Walking a tree of files below a directory fd, nothing followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath, open_in_root

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


def open_above_link(root: int, path: str) -> int | None:
    """The directory that a symlink is in, open; None if the path is that of something else."""
    above, _, name = path.rpartition("/")
    parent = open_in_root(root, above or ".", os.O_RDONLY | os.O_DIRECTORY)
    if name and stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        return parent
    os.close(parent)
    return None


def open_below(root: int, path: str) -> int:
    """An fd of a directory below another, "" for itself; no symlink leads there."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    return open_beneath(root, path or ".", flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def place_below(root: int, fd: int) -> str:
    """The path below `root` of what another fd is open on, wherever links have led; "" of the root itself."""
    top, here = (os.readlink(f"/proc/self/fd/{each}") for each in (root, fd))
    return here[len(top) :].lstrip("/")


def children(dirfd: int, path: str, names: Iterable[str] | None = None) -> Iterator[Entry]:
    """The directory's entries (those of `names`), sorted by their names' bytes: a walk is reproducible."""
    for name in sorted(os.listdir(dirfd) if names is None else names, key=os.fsencode):
        status = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        yield Entry(dirfd, name, f"{path}/{name}" if path else name, status)
