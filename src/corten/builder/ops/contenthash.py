"""A name for what a copy would copy: the same for the same bytes, whatever clone they come from.

Covers, for each file of the sources in sorted order: path, type and permissions, owner, extended
attributes, link target, device, content. Not covered: times, inode numbers, where the source lies.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence

from corten.builder.ignore import IgnoreMatcher
from corten.builder.ops.glob import find_sources
from corten.builder.ops.tree import Entry, children, open_directory, portable_xattrs
from corten.linux.openat2 import open_in_root

_READ = 1 << 20


def content_digest(
    rootfd: int, patterns: Sequence[str], *, exclude: Sequence[str] = (), double_star: bool = False
) -> str:
    """The sha256 (hex) of everything below `rootfd` that the patterns select. Follows the sources' links."""
    hasher = _Hasher(IgnoreMatcher(exclude))
    for pattern in patterns:
        hasher.put(b"pattern", os.fsencode(pattern))
        for path in find_sources(rootfd, pattern, double_star=double_star):
            # Only its last name counts: that is all that a copy makes of it.
            name = path if double_star else path.rpartition("/")[2]
            hasher.add_source(rootfd, path, name)
    return hasher.hexdigest()


class _Hasher:
    def __init__(self, exclude: IgnoreMatcher) -> None:
        self._sum = hashlib.sha256()
        self._exclude = exclude

    def hexdigest(self) -> str:
        return self._sum.hexdigest()

    def put(self, *values: bytes) -> None:
        """Add values with their lengths, so that no two lists of values look alike."""
        for value in values:
            self._sum.update(b"%d:" % len(value))
            self._sum.update(value)

    def add_source(self, rootfd: int, path: str, name: str) -> None:
        fd = open_in_root(rootfd, path or ".", os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            self._attributes(name, status)
            self._open_file(fd, status, "")
        finally:
            os.close(fd)

    def _open_file(self, fd: int, status: os.stat_result, path: str) -> None:
        for name, value in portable_xattrs(fd).items():
            self.put(b"xattr", name, value)
        if stat.S_ISDIR(status.st_mode):
            self._directory(fd, path)
        elif stat.S_ISREG(status.st_mode):
            self._content(fd, status.st_size)

    def _directory(self, dirfd: int, path: str) -> None:
        for entry in children(dirfd, path):
            if not self._exclude.ignores(entry.path):
                self._entry(entry)
            elif entry.is_dir and not self._exclude.ignores_all_below(entry.path):
                self._below(entry)
        self.put(b"end")

    def _below(self, entry: Entry) -> None:
        fd = open_directory(entry.parent, entry.name)
        try:
            self._directory(fd, entry.path)
        finally:
            os.close(fd)

    def _entry(self, entry: Entry) -> None:
        mode = entry.status.st_mode
        self._attributes(entry.path, entry.status)
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.parent)
            try:
                self._open_file(fd, entry.status, entry.path)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(mode):
            self.put(os.fsencode(os.readlink(entry.name, dir_fd=entry.parent)))
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            self.put(str(entry.status.st_rdev).encode())

    def _attributes(self, path: str, status: os.stat_result) -> None:
        owner = f"{status.st_mode:o} {status.st_uid} {status.st_gid}"
        self.put(b"file", os.fsencode(path), owner.encode())

    def _content(self, fd: int, size: int) -> None:
        self._sum.update(b"%d:" % size)
        while data := os.read(fd, _READ):
            self._sum.update(data)
