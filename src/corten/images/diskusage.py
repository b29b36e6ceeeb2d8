"""What layers and blobs really take on the disk, as du(1) counts it: a file with several names once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from corten.digest import Digest
from corten.images.blocking import run_blocking

if TYPE_CHECKING:
    from corten.images.catalogue import ImageCatalogue

_SECTOR = 512  # unit of st_blocks, whatever the file system's

_Inode: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class _Tree:
    """Bytes of a tree: of what has one name, and of each file with several.

    leads_out: some of the names are elsewhere.
    """

    own: int = 0
    linked: dict[_Inode, int] = field(default_factory=dict)
    leads_out: bool = False


class StoreUsage:
    """Layers never change, so each is measured once and remembered. Event loop's thread."""

    def __init__(self, store: ImageCatalogue) -> None:
        self._store = store
        self._known: dict[str, _Tree] = {}

    async def refresh(self) -> None:
        """Measure, in a thread, what is new: `total` then is quick."""
        names = self._names()
        self._remember(names, await run_blocking(self._measure, names, dict(self._known)))

    def total(self) -> int:
        """Bytes of all layers, blobs and partial blobs."""
        names = self._names()
        self._remember(names, self._measure(names, self._known))
        linked: dict[_Inode, int] = {}
        for tree in self._known.values():
            linked.update(tree.linked)
        blobs = self._store.ledger.query("SELECT digest FROM blobs")
        return (
            sum(tree.own for tree in self._known.values())
            + sum(linked.values())
            + sum(_allocated(self._store.blobs.path(Digest(row["digest"]))) for row in blobs)
            + self._store.partial.bytes_on_disk()
        )

    def _names(self) -> set[str]:
        return {row["directory"] for row in self._store.ledger.query("SELECT directory FROM layers")}

    def _measure(self, names: Iterable[str], known: dict[str, _Tree]) -> dict[str, _Tree]:
        """All trees that are not known; all there are, if a new one shares files with a known one."""
        root = self._store.layers.root
        new = {name: _measured(os.path.join(root, name)) for name in names if name not in known}
        if known and any(tree.leads_out for tree in new.values()):
            # What had one name when it was measured may have got another since.
            return {name: _measured(os.path.join(root, name)) for name in names}
        return new

    def _remember(self, names: set[str], measured: dict[str, _Tree]) -> None:
        self._known = {name: tree for name, tree in {**self._known, **measured}.items() if name in names}


def _allocated(path: str) -> int:
    """Bytes that a file occupies; 0 for what is gone."""
    try:
        return os.lstat(path).st_blocks * _SECTOR
    except FileNotFoundError:
        return 0


def _measured(path: str) -> _Tree:
    """A tree as it lies on the disk; what is gone meanwhile does not count."""
    tree = _Tree()
    names: dict[_Inode, int] = {}
    waiting = [path]
    device = None
    while waiting:
        current = waiting.pop()
        try:
            status = os.lstat(current)
            device = device or status.st_dev
            if status.st_dev != device:
                continue  # a layer's own mount: its files are counted as what it is made of
            size = status.st_blocks * _SECTOR
            if stat.S_ISDIR(status.st_mode):
                tree.own += size
                waiting.extend(os.path.join(current, name) for name in os.listdir(current))
            elif status.st_nlink > 1:
                inode = (status.st_dev, status.st_ino)
                names[inode] = names.get(inode, status.st_nlink) - 1
                tree.linked[inode] = size
            else:
                tree.own += size
        except FileNotFoundError:
            continue
    tree.leads_out = any(names.values())
    return tree
