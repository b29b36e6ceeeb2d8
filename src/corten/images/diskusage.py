"""What layers and kept blobs really take on the disk, as du(1) counts it."""

from __future__ import annotations

import os
import stat

from corten.digest import Digest
from corten.images.blocking import run_blocking
from corten.images.catalogue import ImageCatalogue

_SECTOR = 512  # unit of st_blocks, whatever the file system's


class LayerUsage:
    """Layers never change, so each is measured once and remembered."""

    def __init__(self, store: ImageCatalogue) -> None:
        self._store = store
        self._known: dict[str, int] = {}

    async def bytes(self) -> int:
        """All layers and blobs. The first time a layer's files are counted in a thread."""
        root = self._store.layers.root
        names = {row["directory"] for row in self._store.ledger.query("SELECT directory FROM layers")}
        digests = [row["digest"] for row in self._store.ledger.query("SELECT digest FROM blobs")]
        new = [name for name in names if name not in self._known]
        measured = await run_blocking(lambda: {name: allocated(os.path.join(root, name)) for name in new})
        self._known = {name: size for name, size in {**self._known, **measured}.items() if name in names}
        return sum(self._known.values()) + sum(
            allocated(self._store.blobs.path(Digest(digest))) for digest in digests
        )


def allocated(path: str) -> int:
    """Bytes that a file or tree occupies, files with several names once; 0 for what is gone."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [path]
    device = None
    while waiting:
        current = waiting.pop()
        try:
            status = os.lstat(current)
            device = device or status.st_dev
            if status.st_dev != device:
                continue  # a layer's own mount: its files are counted as what it is made of
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * _SECTOR
            if stat.S_ISDIR(status.st_mode):
                waiting.extend(os.path.join(current, name) for name in os.listdir(current))
        except FileNotFoundError:
            continue
    return total
