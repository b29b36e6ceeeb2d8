"""What a container has changed, read off its upperdir."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath
from corten.snapshots import xattrs
from corten.snapshots.stubs import RUNTIME_TARGETS, is_stub

MODIFIED, ADDED, DELETED = 0, 1, 2
"""Docker's kinds of change."""

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def changes(upper: int, lower: Sequence[int]) -> Iterator[tuple[str, int]]:
    """(path, kind), parents before children. `lower` (uppermost first) only tells modified from added.

    The container may be at work in there: everything is opened by descriptors, nothing followed, and what
    vanishes meanwhile is left out. What the runtime made to mount things on is no change.
    """
    return _walk(upper, "", lower)


def _walk(directory: int, prefix: str, layers: Sequence[int]) -> Iterator[tuple[str, int]]:
    for name in sorted(os.listdir(directory), key=os.fsencode):
        path = f"{prefix}/{name}"
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if _is_whiteout(status):
            yield path, DELETED
            continue
        original = _status_below(path, layers)
        change = path, ADDED if original is None else MODIFIED
        if not stat.S_ISDIR(status.st_mode):
            if path not in RUNTIME_TARGETS or not is_stub(status, original):
                yield change
            continue
        inner = _inside(directory, name, path, layers)
        if _may_be_only_stubs(path) and is_stub(status, original):
            first = next(inner, None)
            if first is None and not _is_empty(directory, name, path):
                continue
            yield change
            if first is not None:
                yield first
        else:
            yield change
        yield from inner


def _inside(parent: int, name: str, path: str, layers: Sequence[int]) -> Iterator[tuple[str, int]]:
    try:
        fd = os.open(name, _DIR, dir_fd=parent)
    except OSError:  # replaced since it was looked at
        return
    try:
        yield from _walk(fd, path, () if _is_opaque(fd) else layers)
    finally:
        os.close(fd)


def _may_be_only_stubs(path: str) -> bool:
    return any(target == path or target.startswith(f"{path}/") for target in RUNTIME_TARGETS)


def _is_empty(parent: int, name: str, path: str) -> bool:
    """Whether a directory that is no stub itself holds nothing: it has been touched then."""
    if path in RUNTIME_TARGETS:
        return False
    try:
        fd = os.open(name, _DIR, dir_fd=parent)
    except OSError:
        return False
    try:
        return not os.listdir(fd)
    finally:
        os.close(fd)


def _status_below(path: str, layers: Sequence[int]) -> os.stat_result | None:
    """What the layers show at `path`: overlayfs merges directories, never through symlinks."""
    for layer in layers:
        try:
            fd = open_beneath(
                layer, path[1:], os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
            )
        except FileNotFoundError:
            continue
        except OSError:
            return None  # a file or symlink on the way hides what is further below
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        return None if _is_whiteout(status) else status
    return None


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, xattrs.OPAQUE) == b"y"
    except OSError:
        return False
