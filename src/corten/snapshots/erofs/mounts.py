"""Mounting layers, each once for all containers, when somebody first needs it.

The mounts are in the engine's mount namespace, which the supervisor and so every new container starts from.
Containers' overlays hold what they use themselves: taking a mount away here disturbs nobody. So the mounts
of a former engine are simply taken away at the start, and come back when they are asked for.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress

from corten.linux import mounts
from corten.snapshots.erofs.index import Layout
from corten.snapshots.erofs.tree import Tree
from corten.snapshots.erofs.unpack import INDEX, SPARSE, TAR, TREE


class LayerMounts:
    """The mounts below `root` (`<data root>/layers`). One thread."""

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)
        self._mounted: set[str] = set()
        for path in _mounts_below(self._root):
            _unmount(path)

    def tree(self, path: str) -> str:
        """Where the layer at `path` is mounted, from now on at the latest. Raises OSError."""
        where = os.path.join(path, TREE)
        if where not in self._mounted:
            _mount(path, where)
            self._mounted.add(where)
        return where

    def release(self, path: str) -> None:
        """Take the layer's mount away, if it has one: its files are to go."""
        where = os.path.join(path, TREE)
        if where in self._mounted:
            self._mounted.discard(where)
            _unmount(where)

    def close(self) -> None:
        """Take all mounts away."""
        for where in self._mounted:
            _unmount(where)
        self._mounted.clear()


def is_supported(directory: str) -> bool:
    """Whether this kernel mounts EROFS from files; tried out with an empty layer below `directory`."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="erofs-") as path:
        for name, content in ((TAR, b""), (INDEX, Layout(Tree().root).pack(0, []))):
            with open(os.path.join(path, name), "wb") as file:
                file.write(content)
        where = os.path.join(path, TREE)
        os.mkdir(where)
        try:
            _mount(path, where)
        except OSError:
            return False
        _unmount(where)
    return True


def _mount(path: str, where: str) -> None:
    options: list[tuple[str, str | None]] = [("source", os.path.join(path, INDEX))]
    options += [
        ("device", device) for name in (TAR, SPARSE) if os.path.exists(device := os.path.join(path, name))
    ]
    mount = mounts.fsmount("erofs", options, mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NODEV)
    try:
        target = os.open(where, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            mounts.move_mount(mount, target)
        finally:
            os.close(target)
    finally:
        os.close(mount)


def _unmount(where: str) -> None:
    with suppress(OSError):
        mounts.umount2(where, mounts.MNT_DETACH)


def _mounts_below(root: str) -> list[str]:
    """Mount points below `root`, the last mounted first. proc(5): octal escapes in paths."""
    found = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            path = os.fsdecode(line.split(b" ", 5)[4].decode("unicode_escape").encode("latin-1"))
            if path.startswith(f"{root}/"):
                found.append(path)
    return found[::-1]
