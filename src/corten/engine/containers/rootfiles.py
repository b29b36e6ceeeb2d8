"""Reading small files of a container's root without mounting it.

The root is a stack of directories (uppermost first) as overlayfs would merge them. Everything in them is
hostile: paths are resolved by the kernel below one layer's directory, symlinks are followed by hand and
stay inside the stack, special files are never opened for reading, sizes are bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, open_beneath

_MAX_LINKS = 40
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def read_root_file(layers: Sequence[str], path: str, limit: int) -> bytes | None:
    """Contents of a regular file, cut at `limit` bytes; None if there is none (or it is something else)."""
    parts = _normalise(path)
    for _ in range(_MAX_LINKS):
        found = _lookup(layers, parts)
        if isinstance(found, list):
            parts = found
        elif found is None:
            return None
        else:
            try:
                return _read(found, limit)
            finally:
                os.close(found)
    return None


def _normalise(path: str) -> list[str]:
    return [part for part in os.path.normpath("/" + path).split("/") if part]


def _lookup(layers: Sequence[str], parts: list[str]) -> int | list[str] | None:
    """An O_PATH fd of what the path names, the path a symlink leads to, or None."""
    for layer in layers:
        try:
            root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # the upper directory before the first start
        try:
            below = True
            for depth in range(1, len(parts) + 1):
                status, fd = _open(root, "/".join(parts[:depth]))
                if fd < 0:
                    below = below and status == errno.ENOENT
                    break
                kind = os.fstat(fd)
                if stat.S_ISLNK(kind.st_mode):
                    target = os.readlink("", dir_fd=fd)
                    os.close(fd)
                    return _redirect(parts, depth, target)
                if depth == len(parts):
                    return fd
                hides = not stat.S_ISDIR(kind.st_mode) or _is_opaque(fd)
                os.close(fd)
                if not stat.S_ISDIR(kind.st_mode):
                    return None  # a whiteout or a file where a directory would have to be
                below = below and not hides
            if not below:
                return None
        finally:
            os.close(root)
    return None


def _open(root: int, path: str) -> tuple[int, int]:
    try:
        return 0, open_beneath(
            root, path, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
        )
    except OSError as e:
        return e.errno or errno.EIO, -1


def _redirect(parts: list[str], depth: int, target: str) -> list[str]:
    base = "" if target.startswith("/") else "/".join(parts[: depth - 1])
    return _normalise("/".join([base, target, *parts[depth:]]))


def _is_opaque(fd: int) -> bool:
    for name in OPAQUE:
        try:
            if os.getxattr(f"/proc/self/fd/{fd}", name) in (b"y", b"x"):
                return True
        except OSError:
            continue
    return False


def _read(path_fd: int, limit: int) -> bytes | None:
    if not stat.S_ISREG(os.fstat(path_fd).st_mode):
        return None
    with open(f"/proc/self/fd/{path_fd}", "rb") as file:
        return file.read(limit)
