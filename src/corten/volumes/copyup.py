"""Filling a new volume with what the image has at its mount point.

The source is a stack of layer directories as overlayfs would merge them (whiteouts are character devices
0/0, opaque directories carry an attribute). Their contents are hostile: nothing is opened through a
symlink, everything is done relative to directory fds. Blocks; run it in a worker.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence

from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_PRIVATE_XATTRS = ("trusted.overlay.", "user.overlay.")


def copy_up(layers: Sequence[str], path: str, target: str) -> bool:
    """Copy the directory `path` of the merged `layers` (uppermost first) into the empty directory `target`.

    Returns False, and does nothing, if the target is not empty. Owner, mode, times and extended
    attributes are kept, also for the target itself.
    """
    if os.listdir(target):
        return False
    destination = os.open(target, _DIRECTORY)
    try:
        for layer in reversed(layers):
            _apply_layer(layer, path.strip("/"), destination)
    finally:
        os.close(destination)
    return True


def _apply_layer(layer: str, path: str, destination: int) -> None:
    try:
        root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            source = _open_directory(root, "/".join(parts[:depth]))
            if source is None:
                return
            if source < 0:
                _clear(destination)
                return
            try:
                if _is_opaque(source):
                    _clear(destination)
                if depth == len(parts):
                    _merge(source, destination)
                    _copy_attributes(source, destination)
            finally:
                os.close(source)
    finally:
        os.close(root)


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


def _merge(source: int, destination: int) -> None:
    """Lay one layer's directory over what is in the destination."""
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            _remove(name, destination)
        elif stat.S_ISDIR(status.st_mode):
            _merge_directory(name, source, destination)
        else:
            _remove(name, destination)
            _copy_entry(name, status, source, destination)


def _merge_directory(name: str, source: int, destination: int) -> None:
    inner = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=source)
    try:
        try:
            os.mkdir(name, 0o700, dir_fd=destination)
        except FileExistsError:
            old = os.stat(name, dir_fd=destination, follow_symlinks=False)
            if not stat.S_ISDIR(old.st_mode):
                _remove(name, destination)
                os.mkdir(name, 0o700, dir_fd=destination)
        copy = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=destination)
        try:
            if _is_opaque(inner):
                _clear(copy)
            _merge(inner, copy)
            _copy_attributes(inner, copy)
        finally:
            os.close(copy)
    finally:
        os.close(inner)


def _copy_entry(name: str, status: os.stat_result, source: int, destination: int) -> None:
    if stat.S_ISREG(status.st_mode):
        _copy_file(name, source, destination)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=destination, follow_symlinks=False)
    elif not stat.S_ISSOCK(status.st_mode):
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=destination)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=destination, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=destination)


def _copy_file(name: str, source: int, destination: int) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    try:
        writing = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=destination
        )
        try:
            while os.copy_file_range(reading, writing, 1 << 30):
                pass
            _copy_attributes(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_attributes(source: int, destination: int) -> None:
    status = os.fstat(source)
    os.fchown(destination, status.st_uid, status.st_gid)
    os.fchmod(destination, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith(_PRIVATE_XATTRS):
            os.setxattr(destination, name, os.getxattr(source, name))
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(fd, name) in (b"y", b"x"):
                return True
        except OSError:
            continue
    return False


def _clear(directory: int) -> None:
    for name in os.listdir(directory):
        _remove(name, directory)


def _remove(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=directory)
