"""A name for what a copy would copy: the same for the same bytes, whatever clone they come from."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from typing import TypeAlias

from corten.builder.ignore import IgnoreMatcher
from corten.builder.ops.contentrecord import record, tree_digest
from corten.builder.ops.glob import find_sources
from corten.builder.ops.tree import Entry, children, open_above_link, open_directory, place_below
from corten.linux.openat2 import open_file_in_root
from corten.snapshots.xattrs import get_portable

_READ = 1 << 20

Find: TypeAlias = Callable[[str], "bytes | None"]


def content_digest(
    rootfd: int,
    patterns: Sequence[str],
    *,
    exclude: Sequence[str] = (),
    double_star: bool = False,
    follow: bool = True,
    find: Find = lambda path: None,
) -> str:
    """The sha256 (hex) of everything below `rootfd` that the patterns select.

    A source that is a link counts as what it leads to, without `follow` as itself. `find` knows digests of
    paths that need not be read (`KnownDigests.find`).
    """
    total = hashlib.sha256()
    hasher = _Hasher(rootfd, IgnoreMatcher(exclude), find)
    for pattern in patterns:
        total.update(b"%d:%s" % (len(os.fsencode(pattern)), os.fsencode(pattern)))
        for path in find_sources(rootfd, pattern, double_star=double_star, follow=follow):
            # Only its last name counts: that is all that a copy makes of it.
            name = path if double_star else path.rpartition("/")[2]
            parent = None if follow else open_above_link(rootfd, path)
            total.update(hasher.source(path, name) if parent is None else _link(parent, path, name))
    return total.hexdigest()


class _Hasher:
    """`path` is what patterns are about, relative to the source; `place` is relative to the root."""

    def __init__(self, rootfd: int, exclude: IgnoreMatcher, find: Find) -> None:
        self._root = rootfd
        self._exclude = exclude
        self._find = find

    def source(self, path: str, name: str) -> bytes:
        fd = open_file_in_root(self._root, path or ".")
        try:
            status = os.fstat(fd)
            if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
                return _record(name, status, None, _device(status))
            return self._opened(fd, status, name, "", place_below(self._root, fd))
        finally:
            os.close(fd)

    def _opened(self, fd: int, status: os.stat_result, name: str, path: str, place: str) -> bytes:
        if stat.S_ISDIR(status.st_mode):
            detail = self._directory(fd, path, place)
        else:
            detail = self._find(place) or _content(fd)
        return _record(name, status, get_portable(fd), detail)

    def _directory(self, dirfd: int, path: str, place: str) -> bytes:
        if not self._exclude and (known := self._find(place)):
            return known
        found = []
        for entry in children(dirfd, path):
            if not self._exclude.ignores(entry.path):
                found.append(
                    (os.fsencode(entry.name), self._entry(entry, f"{place}/{entry.name}".lstrip("/")))
                )
            elif entry.is_dir and not self._exclude.ignores_all_below(entry.path):
                below = self._below(entry, f"{place}/{entry.name}".lstrip("/"))
                found.append((os.fsencode(entry.name), b"below %s %s" % (os.fsencode(entry.name), below)))
        return tree_digest(found)

    def _below(self, entry: Entry, place: str) -> bytes:
        fd = open_directory(entry.parent, entry.name)
        try:
            return self._directory(fd, entry.path, place)
        finally:
            os.close(fd)

    def _entry(self, entry: Entry, place: str) -> bytes:
        status = entry.status
        if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
            fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.parent)
            try:
                return self._opened(fd, status, entry.name, entry.path, place)
            finally:
                os.close(fd)
        if stat.S_ISLNK(status.st_mode):
            detail = os.fsencode(os.readlink(entry.name, dir_fd=entry.parent))
        else:
            detail = _device(status)
        return _record(entry.name, status, None, detail)


def _link(parent: int, path: str, name: str) -> bytes:
    """A link in the directory `parent`, which is closed."""
    try:
        base = path.rpartition("/")[2]
        status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        return _record(name, status, None, os.fsencode(os.readlink(base, dir_fd=parent)))
    finally:
        os.close(parent)


def _record(name: str, status: os.stat_result, xattrs: dict[bytes, bytes] | None, detail: bytes) -> bytes:
    return record(os.fsencode(name), status.st_mode, status.st_uid, status.st_gid, xattrs, detail)


def _device(status: os.stat_result) -> bytes:
    """Which device a special file is, b"" for one that is none."""
    mode = status.st_mode
    return str(status.st_rdev).encode() if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else b""


def _content(fd: int) -> bytes:
    content = hashlib.sha256()
    while data := os.read(fd, _READ):
        content.update(data)
    return content.digest()
