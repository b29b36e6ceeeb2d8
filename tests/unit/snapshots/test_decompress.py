import bz2
import gzip
import lzma

import pytest
from backports import zstd

from corten.snapshots.decompress import Compression, Limits, decompressed, detect
from corten.snapshots.errors import BadArchive, TooLarge

PLAIN = b"".join(b"line %d\n" % i for i in range(50_000))
PACK = {
    Compression.NONE: lambda d: d,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: lambda d: zstd.compress(d, options={zstd.CompressionParameter.checksum_flag: 1}),
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
}


def run(data, limits=None, chunk=1000):
    return b"".join(decompressed((data[i : i + chunk] for i in range(0, len(data), chunk)), limits))


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("chunk", [1, 1000, 1 << 20])
def test_content_comes_back(kind, chunk):
    plain = PLAIN if chunk > 1 else PLAIN[:5000]
    packed = PACK[kind](plain)
    assert detect(packed[:6]) is kind
    assert run(packed, chunk=chunk) == plain


@pytest.mark.parametrize("kind", [k for k in PACK if k is not Compression.NONE])
def test_several_members_and_padding(kind):
    assert run(PACK[kind](b"one") + PACK[kind](b"two") + bytes(700)) == b"onetwo"


@pytest.mark.parametrize("kind", [k for k in PACK if k is not Compression.NONE])
def test_truncated_and_corrupt(kind):
    packed = PACK[kind](PLAIN)
    with pytest.raises(BadArchive, match="unexpected EOF"):
        run(packed[:-9])
    broken = bytearray(packed)
    broken[len(broken) // 2] ^= 0xFF
    with pytest.raises(BadArchive):
        run(bytes(broken))


@pytest.mark.parametrize("kind", [k for k in PACK if k is not Compression.NONE])
def test_garbage_after_the_content(kind):
    with pytest.raises(BadArchive):
        run(PACK[kind](b"x") + b"garbage that is no member")


def test_pieces_are_small_whatever_the_input_says():
    bomb = gzip.compress(bytes(64 << 20))
    assert max(len(p) for p in decompressed([bomb])) <= 256 << 10


def test_limits_stop_bombs():
    bomb = zstd.compress(bytes(8 << 20))
    with pytest.raises(TooLarge, match="decompression bomb"):
        run(bomb, Limits(ratio_from_bytes=1 << 20, max_ratio=100))
    with pytest.raises(TooLarge, match="more than 1048576 bytes"):
        run(bomb, Limits(max_bytes=1 << 20))
    with pytest.raises(TooLarge):
        run(PLAIN, Limits(max_bytes=100))


def test_empty_input():
    assert run(b"") == b""


def test_skippable_frames_of_zstd():
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"toc!"
    assert run(skippable + zstd.compress(b"x") + skippable) == b"x"
