"""What differs between two file trees that do not change: images, merged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from corten.snapshots import xattrs
from corten.snapshots.changes import ADDED, DELETED, MODIFIED

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20


def difference(old: int, new: int) -> Iterator[tuple[str, int]]:
    """(path, kind of change), parents before children, between two directories given by their fds.

    Compared is what a program can tell: type, mode, owner, content, link target, device and those extended
    attributes that travel; times are not, because every build has others. A directory in which something
    has changed is modified, as in `docker diff`; one that came or went is named with all that is in it.
    """
    return _compare(old, new, "")


def _compare(old: int, new: int, prefix: str) -> Iterator[tuple[str, int]]:
    before, after = set(os.listdir(old)), set(os.listdir(new))
    for name in sorted(before | after, key=os.fsencode):
        path = f"{prefix}/{name}"
        if name not in after:
            yield from _all(old, name, path, DELETED)
        elif name not in before:
            yield from _all(new, name, path, ADDED)
        else:
            yield from _common(old, new, name, path)


def _all(parent: int, name: str, path: str, kind: int) -> Iterator[tuple[str, int]]:
    yield path, kind
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        yield from _inside(parent, name, path, kind)


def _inside(parent: int, name: str, path: str, kind: int) -> Iterator[tuple[str, int]]:
    with _directory(parent, name) as fd:
        for inner in sorted(os.listdir(fd), key=os.fsencode):
            yield from _all(fd, inner, f"{path}/{inner}", kind)


def _common(old: int, new: int, name: str, path: str) -> Iterator[tuple[str, int]]:
    was = os.stat(name, dir_fd=old, follow_symlinks=False)
    now = os.stat(name, dir_fd=new, follow_symlinks=False)
    changed = _attributes(was) != _attributes(now) or _extended(old, name) != _extended(new, name)
    if stat.S_ISDIR(was.st_mode) and stat.S_ISDIR(now.st_mode):
        yield from _directories(old, new, name, path, changed=changed)
        return
    if changed or not _same_content(old, new, name, was, now):
        yield path, MODIFIED
    if stat.S_ISDIR(was.st_mode):
        yield from _inside(old, name, path, DELETED)
    elif stat.S_ISDIR(now.st_mode):
        yield from _inside(new, name, path, ADDED)


def _directories(old: int, new: int, name: str, path: str, *, changed: bool) -> Iterator[tuple[str, int]]:
    with _directory(old, name) as was, _directory(new, name) as now:
        inner = _compare(was, now, path)
        first = next(inner, None)
        if changed or first is not None:
            yield path, MODIFIED
        if first is not None:
            yield first
        yield from inner


@contextmanager
def _directory(parent: int, name: str) -> Iterator[int]:
    fd = os.open(name, _DIR, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _attributes(status: os.stat_result) -> tuple[int, int, int, int]:
    device = status.st_rdev if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode) else 0
    return status.st_mode, status.st_uid, status.st_gid, device


def _extended(parent: int, name: str) -> dict[bytes, bytes]:
    return xattrs.get_portable(f"/proc/self/fd/{parent}/{name}")


def _same_content(old: int, new: int, name: str, was: os.stat_result, now: os.stat_result) -> bool:
    if stat.S_ISLNK(was.st_mode):
        return os.readlink(name, dir_fd=old) == os.readlink(name, dir_fd=new)
    if not stat.S_ISREG(was.st_mode):
        return True
    if was.st_size != now.st_size:
        return False
    one, two = os.open(name, _FILE, dir_fd=old), os.open(name, _FILE, dir_fd=new)
    try:
        while piece := os.read(one, _PIECE):
            if piece != os.read(two, _PIECE):
                return False
    finally:
        os.close(one)
        os.close(two)
    return True
