"""Filling a new volume with what the image has at its mount point: all of it, or nothing.

The source is a stack of layer directories as overlayfs would merge them; their contents are hostile. The
copy is made in a hidden directory of the volume, synced, marked as complete by a rename, and only then
moved to its place. What a crash leaves is taken up by `recover`: an incomplete copy goes, a complete one is
moved to the end. Blocks; run it in a worker.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath
from corten.linux.syncfs import syncfs
from corten.volumes.tree import Owners, TreeCopy, copy_attributes, is_opaque, remove_entry

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_UNFINISHED = ".corten-copy-up"
_COMPLETE = ".corten-copy-up-complete"


def copy_up(layers: Sequence[str], path: str, target: str, owners: Owners | None = None) -> bool:
    """Copy the directory `path` of the merged `layers` (uppermost first) into the empty directory `target`.

    Returns False, and does nothing, if the target is not empty. Owner, mode, times and extended
    attributes are kept, also for the target itself; `owners` may change owners.
    """
    destination = os.open(target, _DIRECTORY)
    try:
        _recover(destination)
        if os.listdir(destination):
            return False
        sources = list(_sources(layers, path.strip("/")))
        try:
            if not sources:
                return True
            os.mkdir(_UNFINISHED, 0o700, dir_fd=destination)
            try:
                _fill(sources, destination, owners)
            except BaseException:
                remove_entry(_UNFINISHED, destination)
                raise
        except OSError as e:
            if e.errno == errno.EROFS:  # mounted read-only: there is nothing to be filled
                return False
            raise
        finally:
            for source in sources:
                os.close(source)
        _publish(destination)
        return True
    finally:
        os.close(destination)


def recover(target: str) -> None:
    """Undo or finish what a crash has interrupted; harmless otherwise."""
    try:
        destination = os.open(target, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _recover(destination)
    finally:
        os.close(destination)


def _recover(destination: int) -> None:
    for name, act in ((_UNFINISHED, _discard), (_COMPLETE, _publish)):
        try:
            status = os.stat(name, dir_fd=destination, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):  # else it is somebody's file of that name
            act(destination)


def _discard(destination: int) -> None:
    remove_entry(_UNFINISHED, destination)


def _fill(sources: list[int], destination: int, owners: Owners | None) -> None:
    staging = os.open(_UNFINISHED, _DIRECTORY | os.O_NOFOLLOW, dir_fd=destination)
    try:
        copy = TreeCopy(staging, layered=True, owners=owners)
        for source in sources:
            copy.add(source)
        if copy.files:
            syncfs(staging)
    finally:
        os.close(staging)
    os.rename(_UNFINISHED, _COMPLETE, src_dir_fd=destination, dst_dir_fd=destination)


def _publish(destination: int) -> None:
    """Move what is complete to its place. What others have put there meanwhile stays."""
    staging = os.open(_COMPLETE, _DIRECTORY | os.O_NOFOLLOW, dir_fd=destination)
    try:
        taken = set(os.listdir(destination))
        for name in os.listdir(staging):
            if name not in taken:
                os.rename(name, name, src_dir_fd=staging, dst_dir_fd=destination)
        copy_attributes(staging, destination)
        status = os.fstat(staging)  # not later: over FUSE and NFS, what is removed has none
        remove_entry(_COMPLETE, destination)
        os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))  # again
    finally:
        os.close(staging)


def _sources(layers: Sequence[str], path: str) -> list[int]:
    """Descriptors of the directory in those layers that show it, lowest first."""
    found: list[int] = []
    for layer in reversed(layers):
        try:
            root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            _visit(root, path.split("/"), found)
        finally:
            os.close(root)
    return found


def _visit(root: int, parts: list[str], found: list[int]) -> None:
    """Add one layer's directory to those below it, or drop them if this layer hides them."""
    for depth in range(1, len(parts) + 1):
        fd = _open_directory(root, "/".join(parts[:depth]))
        if fd is None:
            return
        if fd < 0 or is_opaque(fd):
            while found:
                os.close(found.pop())
        if fd < 0:
            return
        if depth == len(parts):
            found.append(fd)
        else:
            os.close(fd)


def _open_directory(root: int, path: str) -> int | None:
    """An fd; None if there is nothing; -1 for a whiteout or anything else that is no directory."""
    try:
        return open_beneath(root, path, _DIRECTORY, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        return None
    except OSError as e:
        if e.errno in (errno.ENOTDIR, errno.ELOOP):
            return -1
        raise
