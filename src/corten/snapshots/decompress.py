"""Inflating streams of unknown origin: gzip, zstd, bzip2, xz or nothing, told by their first bytes.

Output comes in pieces of at most 256 KiB whatever the input claims, so a bomb costs time, never memory;
`Limits` bound the time and the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from corten.snapshots.errors import BadArchive, TooLarge

PIECE = 256 << 10
# 128 MiB, what the zstd command accepts without --long=28 and more.
_ZSTD_WINDOW_LOG = 27
_XZ_MEMORY_BYTES = 256 << 20


class Compression(Enum):
    """How a stream is packed; the value is the name that errors and media types use."""

    NONE = ""
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    XZ = "xz"


_MAGIC = (
    (b"\x1f\x8b\x08", Compression.GZIP),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
    (b"BZh", Compression.BZIP2),
    (b"\xfd7zXZ\x00", Compression.XZ),
)
MAGIC_LENGTH = 6


def detect(head: bytes) -> Compression:
    """What the first MAGIC_LENGTH bytes of a stream say."""
    for magic, compression in _MAGIC:
        if head.startswith(magic):
            return compression
    # A zstd stream may begin with skippable frames 0x184D2A50..5F (RFC 8878, 3.1.2).
    if len(head) >= 4 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18":
        return Compression.ZSTD
    return Compression.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may come out of an archive.

    max_bytes: all of it. max_ratio: output to input, looked at once there is `ratio_from_bytes` of output
    (a sparse file of zeros is legitimate and shrinks a thousandfold even in gzip).
    """

    max_bytes: int = 256 << 30
    max_ratio: int = 5000
    ratio_from_bytes: int = 4 << 30

    def check(self, bytes_in: int, bytes_out: int) -> None:
        """Raise TooLarge when the limits are exceeded."""
        if bytes_out > self.max_bytes:
            raise TooLarge(f"archive unpacks to more than {self.max_bytes} bytes")
        if bytes_out > self.ratio_from_bytes and bytes_out > bytes_in * self.max_ratio:
            raise TooLarge(
                f"archive is compressed more than {self.max_ratio} times: refusing a decompression bomb"
            )


class _Decoder(Protocol):
    """What bz2, lzma, isal and zstd decompressor objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _new_decoder(compression: Compression) -> _Decoder:
    # Imported where needed: a worker that inflates gzip should not pay for lzma.
    if compression is Compression.GZIP:
        from isal import igzip_lib

        decoder: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return decoder
    if compression is Compression.ZSTD:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        return zstd.ZstdDecompressor(options=options)
    if compression is Compression.BZIP2:
        import bz2

        return bz2.BZ2Decompressor()
    import lzma

    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)


def decompressed(chunks: Iterable[bytes], limits: Limits | None = None) -> Iterator[bytes]:
    """The plain content of a stream, in pieces of at most 256 KiB (uncompressed input passes as it is).

    Several members or frames one after the other are one content; zeros after the last are padding.
    Raises BadArchive when it is corrupt or truncated, TooLarge beyond `limits`.
    """
    limits = limits or Limits()
    source = iter(chunks)
    head = b""
    for chunk in source:
        head += chunk
        if len(head) >= MAGIC_LENGTH:
            break
    compression = detect(head)
    if compression is Compression.NONE:
        yield from _counted(_chain(head, source), limits)
    else:
        yield from _inflated(compression, _chain(head, source), limits)


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _counted(chunks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        limits.check(total, total)
        yield chunk


def _inflated(compression: Compression, chunks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    decoder = _new_decoder(compression)
    between_members = False
    bytes_in = bytes_out = 0
    for chunk in chunks:
        data = chunk
        bytes_in += len(chunk)
        while True:
            if between_members:
                data = data.lstrip(b"\0")
                if not data:
                    break
                decoder = _new_decoder(compression)
                between_members = False
            piece = _decode(decoder, data, compression)
            if piece:
                bytes_out += len(piece)
                limits.check(bytes_in, bytes_out)
                yield piece
            if decoder.eof:
                data = decoder.unused_data
                between_members = True
            elif decoder.needs_input:
                break
            else:
                data = b""
    if not between_members:
        raise BadArchive("unexpected EOF")


def _decode(decoder: _Decoder, data: bytes, compression: Compression) -> bytes:
    try:
        return decoder.decompress(data, max_length=PIECE)
    except MemoryError:
        raise
    except Exception as e:  # the libraries share no base class below Exception
        raise BadArchive(f"{compression.value}: {e}") from e
