"""What a layer's directory holds: the extracted tree, or a tar with an index that makes it a file system.

`layers` keeps both side by side; the name of a layer's directory says which it is.
"""

from __future__ import annotations

import os
from typing import Protocol

from corten.snapshots.erofs.mounts import LayerMounts
from corten.snapshots.erofs.unpack import TAR


class Sink(Protocol):
    """One form of layers. `path` is always a layer's own directory, in its final place."""

    suffix: str
    """What the names of such directories end in."""
    job: str
    """What fills one: a worker's job with the signature of `jobs.unpack`."""

    def lower(self, path: str) -> str:
        """The lowerdir for overlayfs, from now on at the latest. Raises OSError."""

    def source(self, path: str) -> str:
        """What the layer's tar is made of: the directory, or the tar itself."""

    def release(self, path: str) -> None:
        """Let go of the directory, which is about to be deleted."""

    def close(self) -> None:
        """Let go of everything."""


class Extract:
    """Trees as they are; works on every kernel and file system that overlayfs works on."""

    suffix = ""
    job = "corten.snapshots.jobs:unpack"

    def lower(self, path: str) -> str:
        """See Sink."""
        return path

    def source(self, path: str) -> str:
        """See Sink."""
        return path

    def release(self, path: str) -> None:
        """See Sink."""

    def close(self) -> None:
        """See Sink."""


class Erofs:
    """Tars with an index, mounted when they are first needed (see `corten.snapshots.erofs`)."""

    suffix = ".erofs"
    job = "corten.snapshots.jobs:index"

    def __init__(self, root: str) -> None:
        """root: the directory of all layers; mounts that a former engine left there are taken away."""
        self._mounts = LayerMounts(root)

    def lower(self, path: str) -> str:
        """See Sink."""
        return self._mounts.tree(path)

    def source(self, path: str) -> str:
        """See Sink."""
        return os.path.join(path, TAR)

    def release(self, path: str) -> None:
        """See Sink."""
        self._mounts.release(path)

    def close(self) -> None:
        """See Sink."""
        self._mounts.close()
