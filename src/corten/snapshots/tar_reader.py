"""Reading tar as a stream: ustar, GNU long names, pax, base-256 numbers, sparse files.

Sans-I/O: chunks of bytes in, entries out. Names are bytes and are given as they stand in the archive:
whoever acts on them normalises them (`normalized_name`). Every number is bounded before it is believed.

Sources: POSIX.1-2008 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual,
"Basic Tar Format" and "Storing Sparse Files".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from corten.snapshots.errors import BadArchive

BLOCK = 512
# Linux refuses longer paths (PATH_MAX 4096) and xattrs (64 KiB each); tar of a maximal file stays below.
MAX_EXTENSION_BYTES = 1 << 20
MAX_SPARSE_SEGMENTS = 1 << 16
MAX_SIZE = 1 << 62

# The kernel's dev_t: 12 and 20 bits (include/linux/kdev_t.h).
_MAJORS, _MINORS = 1 << 12, 1 << 20
_SECOND_NS = 1_000_000_000
_FAR_NS = 1 << 62

REGULAR = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_XATTR = b"SCHILY.xattr."


@dataclass(slots=True)
class TarEntry:
    """One member. `size`: bytes of content as extracted (a sparse file's apparent size).

    type: one of the constants above, or whatever else the archive holds. mtime_ns since 1970.
    sparse: (offset, length) of the pieces that the archive has; None for an ordinary file.
    """

    name: bytes
    type: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    linkname: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    sparse: list[tuple[int, int]] | None = None

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.type == DIRECTORY


def normalized_name(name: bytes) -> bytes:
    """`name` relative to the root, without ".", empty and ".." parts; b"" is the root itself.

    Raises BadArchive when it leads out of the root or holds NUL.
    """
    if b"\0" in name:
        raise BadArchive(f"invalid name in archive: {name!r}")
    # The usual case, decided without splitting.
    if b"." not in name and b"//" not in name:
        return name.strip(b"/")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise BadArchive(f"invalid path in archive: {_shown(name)} leads outside of it")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _shown(name: bytes) -> str:
    text = name[:200].decode("utf-8", "backslashreplace")
    return f'"{text}"'


class TarReader:
    """Iterates over the entries of a plain tar stream.

    for entry in reader:
        for piece in reader.content(): ...

    Content that is not asked for is skipped. After the last entry the rest of the stream is read, so
    that a hash over it covers the padding.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._at = 0
        self._before = 0  # bytes of the stream that came before the buffer
        self._left = 0  # content bytes of the current entry that are still in the stream
        self._padding = 0
        self._global: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[TarEntry]:
        while (entry := self._next_entry()) is not None:
            yield entry
        for _ in self._chunks:
            pass

    @property
    def offset(self) -> int:
        """Where in the stream the current entry's content begins (until it is asked for)."""
        return self._before + self._at

    def content(self) -> Iterator[memoryview]:
        """The current entry's bytes as they are stored (a sparse file's pieces one after the other)."""
        while self._left:
            piece = self._some(self._left)
            self._left -= len(piece)
            yield piece

    def read(self, limit: int) -> bytes:
        """The current entry's whole content. Raises BadArchive if there is more than `limit`."""
        if self._left > limit:
            raise BadArchive(f"archive member is larger than {limit} bytes")
        return b"".join(self.content())

    # -- stream ---------------------------------------------------------------------------------

    def _fill(self) -> bool:
        self._before += len(self._buffer)
        for chunk in self._chunks:
            if chunk:
                self._buffer = chunk
                self._at = 0
                return True
        self._buffer = b""
        self._at = 0
        return False

    def _some(self, most: int) -> memoryview:
        if self._at == len(self._buffer) and not self._fill():
            raise BadArchive("unexpected EOF")
        piece = memoryview(self._buffer)[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def _exactly(self, count: int) -> bytes:
        at = self._at
        if len(self._buffer) - at >= count:
            self._at = at + count
            return self._buffer[at : at + count]
        pieces = []
        while count:
            piece = self._some(count)
            count -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _skip(self, count: int) -> None:
        while count:
            count -= len(self._some(count))

    # -- headers --------------------------------------------------------------------------------

    def _header(self) -> bytes | None:
        """The next header block; None at the end (zeros, or nothing more on a block boundary)."""
        self._skip(self._left + self._padding)
        self._left = self._padding = 0
        if self._at == len(self._buffer) and not self._fill():
            return None
        block = self._exactly(BLOCK)
        return None if block[0] == 0 and not any(block) else block

    def _next_entry(self) -> TarEntry | None:
        extended: dict[bytes, bytes] = {}
        long_name = long_link = None
        while (block := self._header()) is not None:
            kind = block[156:157]
            if kind in (b"x", b"g", b"L", b"K"):
                data = self._extension(block)
                if kind == b"x":
                    extended = parse_pax(data)
                elif kind == b"g":
                    self._merge_global(parse_pax(data))
                elif kind == b"L":
                    long_name = data.partition(b"\0")[0]
                else:
                    long_link = data.partition(b"\0")[0]
                continue
            entry = self._parse(block)
            if long_name is not None:
                entry.name = long_name
            if long_link is not None:
                entry.linkname = long_link
            if self._global or extended:
                self._apply_pax(entry, {**self._global, **extended})
            if entry.type == b"S":
                self._old_gnu_sparse(entry, block)
            return entry
        return None

    def _merge_global(self, records: dict[bytes, bytes]) -> None:
        self._global.update(records)
        if sum(len(k) + len(v) for k, v in self._global.items()) > MAX_EXTENSION_BYTES:
            raise BadArchive("archive/tar: global header too long")

    def _extension(self, block: bytes) -> bytes:
        size = _checked(block)
        if not 0 <= size <= MAX_EXTENSION_BYTES:
            raise BadArchive("archive/tar: header field too long")
        data = self._exactly(size)
        self._skip(-size % BLOCK)
        return data

    def _parse(self, block: bytes) -> TarEntry:
        (name, mode, uid, gid, size, mtime, _, kind, link, magic, _, _, major, minor, prefix) = (
            _HEADER.unpack(block)
        )  # fmt: skip
        _verify_checksum(block)
        name = name.partition(b"\0")[0]
        if prefix[0] and magic[:6] == b"ustar\0":
            name = prefix.partition(b"\0")[0] + b"/" + name
        if kind in (b"\0", b"7"):
            kind = DIRECTORY if kind == b"\0" and name.endswith(b"/") else REGULAR
        entry = TarEntry(
            name, kind, _number(mode) & 0o7777, _owner(_number(uid)), _owner(_number(gid)),
            _size(_number(size)), _moment(_number(mtime) * _SECOND_NS), link.partition(b"\0")[0],
        )  # fmt: skip
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = _number(major), _number(minor)
            if not (0 <= entry.major < _MAJORS and 0 <= entry.minor < _MINORS):
                raise BadArchive("archive/tar: invalid device number in tar header")
        self._set_content(entry, entry.size)
        return entry

    def _set_content(self, entry: TarEntry, stored: int) -> None:
        # Links, devices, directories and fifos have no content whatever their header says, as POSIX
        # and Go have it; old archives give the size of a hard link's target.
        if entry.type in (HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO):
            entry.size = stored = 0
        self._left = stored
        self._padding = -stored % BLOCK

    def _apply_pax(self, entry: TarEntry, records: dict[bytes, bytes]) -> None:
        entry.name = records.get(b"path", entry.name)
        entry.linkname = records.get(b"linkpath", entry.linkname)
        if b"uid" in records:
            entry.uid = _owner(_decimal(records[b"uid"]))
        if b"gid" in records:
            entry.gid = _owner(_decimal(records[b"gid"]))
        if b"mtime" in records:
            entry.mtime_ns = _moment(_pax_time(records[b"mtime"]))
        if b"size" in records:
            entry.size = _size(_decimal(records[b"size"]))
            self._set_content(entry, entry.size)
        for key, value in records.items():
            if key.startswith(_XATTR):
                entry.xattrs[key[len(_XATTR) :]] = value
        if any(key.startswith(b"GNU.sparse.") for key in records):
            self._pax_sparse(entry, records)

    # -- sparse files ---------------------------------------------------------------------------

    def _old_gnu_sparse(self, entry: TarEntry, block: bytes) -> None:
        """GNU's type "S": four segments in the header, 21 more in each extension block."""
        entry.type = REGULAR
        segments = _gnu_segments(block, 386, 4)
        apparent = _size(_number(block[483:495]))
        more = block[482] != 0
        while more:
            extension = self._exactly(BLOCK)
            segments += _gnu_segments(extension, 0, 21)
            more = extension[504] != 0
            if len(segments) > MAX_SPARSE_SEGMENTS:
                raise BadArchive("archive/tar: too many sparse segments")
        self._set_sparse(entry, segments, apparent)

    def _pax_sparse(self, entry: TarEntry, records: dict[bytes, bytes]) -> None:
        """GNU.sparse 0.1 (map in the header) and 1.0 (map before the content)."""
        version = (records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor"))
        if b"GNU.sparse.name" in records:
            entry.name = records[b"GNU.sparse.name"]
        if version == (b"1", b"0"):
            apparent = _size(_decimal(records.get(b"GNU.sparse.realsize", b"")))
            self._set_sparse(entry, self._sparse_map(), apparent)
        elif b"GNU.sparse.map" in records:
            apparent = _size(_decimal(records.get(b"GNU.sparse.size", b"")))
            numbers = [_decimal(n) for n in records[b"GNU.sparse.map"].split(b",")]
            self._set_sparse(entry, list(zip(numbers[::2], numbers[1::2], strict=False)), apparent)
        else:
            raise BadArchive("archive/tar: sparse format 0.0 is not supported")

    def _sparse_map(self) -> list[tuple[int, int]]:
        numbers: list[int] = []
        text = b""
        wanted = 1
        while len(numbers) < wanted:
            while b"\n" not in text:
                if self._left < BLOCK or len(text) > 64:
                    raise BadArchive("archive/tar: invalid sparse map")
                text += self._exactly(BLOCK)
                self._left -= BLOCK
            line, _, text = text.partition(b"\n")
            numbers.append(_decimal(line))
            if len(numbers) == 1:
                wanted = 1 + 2 * numbers[0]
                if numbers[0] > MAX_SPARSE_SEGMENTS:
                    raise BadArchive("archive/tar: too many sparse segments")
        return list(zip(numbers[1::2], numbers[2::2], strict=True))

    def _set_sparse(self, entry: TarEntry, segments: list[tuple[int, int]], apparent: int) -> None:
        end = 0
        for offset, length in segments:
            if offset < end or length < 0 or offset + length > apparent:
                raise BadArchive("archive/tar: invalid sparse map")
            end = offset + length
        if sum(length for _, length in segments) != self._left:
            raise BadArchive("archive/tar: sparse map and size disagree")
        entry.sparse = segments
        entry.size = apparent


def is_header(block: bytes) -> bool:
    """Whether a tar may begin with this block."""
    try:
        _verify_checksum(block.ljust(BLOCK, b"\0"))
    except BadArchive:
        return False
    return any(block)


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """Records `<length> <key>=<value>\\n` of an extended header. Raises BadArchive."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 10)
        length = _decimal(data[at:space]) if space > 0 else 0
        end = at + length
        if length < 5 or end > len(data) or data[end - 1] != 0x0A:
            raise BadArchive("archive/tar: invalid tar header")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise BadArchive("archive/tar: invalid tar header")
        records[key] = value
        at = end
    return records


def _verify_checksum(block: bytes) -> None:
    expected = _number(block[148:156])
    # Adler-32's low half is 1 + the sum of the bytes modulo 65521: the checksum at C speed, with the
    # checksum field itself counted as eight spaces.
    total = 1 + expected + sum(block[148:156]) - 256
    if zlib.adler32(block) & 0xFFFF == total % 65521:
        return
    signed = sum(b - 256 if b > 127 else b for b in block[:148] + block[156:]) + 256
    if signed != expected:  # some ancient archivers summed signed characters
        raise BadArchive("archive/tar: invalid tar header")


def _checked(block: bytes) -> int:
    _verify_checksum(block)
    return _number(block[124:136])


def _number(raw: bytes) -> int:
    """Octal text, or GNU's base-256 when the top bit is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big", signed=False) & ((1 << (8 * len(raw) - 1)) - 1)
        return value - (1 << (8 * len(raw) - 1)) if raw[0] & 0x40 else value
    text = raw.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    try:
        if text.isdigit():
            return int(text, 8)
    except ValueError:
        pass
    raise BadArchive("archive/tar: invalid tar header")


def _size(value: int) -> int:
    if not 0 <= value <= MAX_SIZE:
        raise BadArchive("archive/tar: invalid size in tar header")
    return value


def _owner(value: int) -> int:
    # 2**32 - 1 means "leave as it is" to chown(2).
    if not 0 <= value < 0xFFFFFFFF:
        raise BadArchive("archive/tar: invalid owner in tar header")
    return value


def _moment(value_ns: int) -> int:
    """The nearest time that utimensat(2) can take; nonsense in this field is common and harmless."""
    return max(-_FAR_NS, min(value_ns, _FAR_NS))


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise BadArchive("archive/tar: invalid tar header")
    return int(text)


def _pax_time(text: bytes) -> int:
    """`[-]seconds[.fraction]` in nanoseconds."""
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    seconds = _decimal(whole.lstrip(b"-"))
    nanoseconds = _decimal(fraction[:9].ljust(9, b"0")) if fraction else 0
    value = seconds * _SECOND_NS + nanoseconds
    return -value if negative else value


def _gnu_segments(block: bytes, at: int, count: int) -> list[tuple[int, int]]:
    segments = []
    for start in range(at, at + 24 * count, 24):
        offset, length = block[start : start + 12], block[start + 12 : start + 24]
        if not offset[0] and not length[0]:
            break
        segments.append((_size(_number(offset)), _size(_number(length))))
    return segments
