"""The root that a step changes, in one worker process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from corten.builder.ops.tree import place_below
from corten.linux import mounts
from corten.snapshots.overlay import open_overlay

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Target:
    """An overlay while it is looked at, and its upperdir alone while hard links are made in that.

    No link leads from outside into a mount, and what is mounted must not be changed below the mount
    (Documentation/filesystems/overlayfs.rst), so one ends before the other begins.

    Over nothing (`lower` empty) there is nothing to merge with: then the upperdir is all there is. An overlay
    would mark new directories as opaque, and so hide what the layer (COPY --link) is put upon.
    """

    def __init__(self, lower: Sequence[str], upper: str, work: str, mountpoint: str) -> None:
        """Needs `enter_private_mounts`."""
        self._lower = lower
        self._upper = upper
        self._work = work
        self._mountpoint = mountpoint
        self._mounted = 0
        self._root = -1
        self.upper = os.open(upper, _DIR)

    @property
    def root(self) -> int:
        """The merged root, until `unmount`."""
        if not self._lower:
            return self.upper
        if self._root < 0:
            work = self._work if not self._mounted else f"{self._work}-{self._mounted}"
            os.makedirs(work, mode=0o700, exist_ok=True)  # each serves one volatile mount
            self._mounted += 1
            self._root = open_overlay(self._lower, self._mountpoint, upper=self._upper, work=work)
        return self._root

    def place(self, fd: int) -> str:
        """The path of an open directory below the root, which is that below the upperdir too."""
        return place_below(self.root, fd)

    def unmount(self) -> None:
        """Make way for changes in `upper`."""
        if self._root < 0:
            return
        # A mount of very many layers hangs nowhere, and ends with its fd.
        if os.stat(self._mountpoint).st_dev == os.fstat(self._root).st_dev:
            mounts.umount2(self._mountpoint, mounts.MNT_DETACH)
        os.close(self._root)
        self._root = -1
