"""Compressing streams: the same bytes in give the same bytes out."""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

_FAST = 2  # of isal's 0 to 3: as small as zlib's 3, ten times as fast
_GZIP_HEADER = 31  # wbits: with gzip's header, whose time is 0

LEVELS = {"gzip": 9, "zstd": 22}
"""The kinds of compression, and the highest level of each; the lowest is 0."""


class Packer(Protocol):
    """What compressor objects have in common."""

    def compress(self, data: bytes | bytearray, /) -> bytes:
        """Take some; what has come out."""

    def flush(self) -> bytes:
        """What is left at the end."""


def new_packer(kind: str, level: int | None = None) -> Packer:
    """A compressor of a kind of `LEVELS`; level None = the one that is usual here."""
    # Imported where needed: see `decompress`.
    if kind == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        packer: Packer = zstd.ZstdCompressor(level=level)
        return packer
    if level is not None:
        return zlib.compressobj(level, zlib.DEFLATED, _GZIP_HEADER)
    from isal import isal_zlib

    fast: Packer = isal_zlib.compressobj(level=_FAST, wbits=_GZIP_HEADER)
    return fast
