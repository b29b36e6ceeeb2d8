"""Layers of an archive that are unpacked while the archive still comes.

What a member is, the archive's tables say, and they may come last. So whatever looks like a layer is
unpacked on suspicion; what turns out to be none, or to be here already, is dropped.
"""

from __future__ import annotations

import os

from corten.images.catalogue import ImageCatalogue
from corten.images.unpacking import Unpacking
from corten.snapshots.arrival import Arrival
from corten.snapshots.decompress import Compression, detect
from corten.snapshots.tar_reader import is_header

# As many as are worth it; further ones wait for the tables.
_AT_ONCE = 3
_WORTH_IT = 1 << 20


class EarlyLayers:
    """A `Follower` of one archive. `close` in the end."""

    def __init__(self, store: ImageCatalogue) -> None:
        self._layers = store.layers
        self._known = {
            digest.partition(":")[2].encode()
            for row in store.ledger.query("SELECT diff_id, blob FROM image_layers")
            for digest in (row["diff_id"], row["blob"] or "")
        }
        self._begun: dict[str, Unpacking] = {}

    def follow(self, name: bytes, path: str, size: int, head: memoryview) -> Arrival | None:
        """See Follower."""
        if size < _WORTH_IT or name.rpartition(b"/")[2].removesuffix(b".tar") in self._known:
            return None
        is_plain = detect(bytes(head[:6])) is Compression.NONE
        if is_plain and (self._layers.keeps_tars or not is_header(bytes(head[:512]))):
            return None  # where tars are kept, the file itself becomes the layer
        if sum(not each.done for each in self._begun.values()) >= _AT_ONCE:
            return None
        arrival = Arrival(size, is_plain=is_plain)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._begun[path] = Unpacking(self._layers, fd, None, arrival=arrival)
        finally:
            os.close(fd)
        return arrival

    def claim(self, path: str) -> Unpacking | None:
        """The unpacking of the member at `path`, if there is one; the caller's from now on."""
        return self._begun.pop(path, None)

    def close(self) -> None:
        """Give up what nobody has claimed. Blocks."""
        for unpacking in self._begun.values():
            unpacking.abandon()
        self._begun.clear()
