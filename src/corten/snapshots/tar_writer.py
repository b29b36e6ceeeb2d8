"""Writing tar: the same entries give the same bytes, on every machine and in every year.

ustar as far as it goes; a pax header only for what does not fit (long names, huge sizes and ids, xattrs).
Times are whole seconds and nothing but the modification time is kept, as in Docker's own layers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeAlias
from zlib import adler32

from corten.snapshots.tar_reader import BLOCK, REGULAR, TarEntry

Write: TypeAlias = Callable[["bytes | bytearray | memoryview"], object]

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777
_ZEROS = bytes(BLOCK)
# The header of most files, made at once: nothing in it is too long, and it is neither link nor device.
_PLAIN = (
    b"%b%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b"
    + bytes(100)
    + b"ustar\x0000"
    + bytes(64)
    + b"0000000\x000000000\0"
    + bytes(167)
)


class TarWriter:
    """Turns entries and their content into a tar stream, given to `write` piece by piece."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._owed = 0  # content bytes that the current entry still promises
        self._padding = 0

    def add(self, entry: TarEntry) -> None:
        """Begin an entry; if it is a regular file, exactly `entry.size` bytes must follow by `content`."""
        self.finish()
        self._write(header_of(entry))
        if entry.type == REGULAR:
            self._owed = entry.size
            self._padding = -entry.size % BLOCK

    def content(self, data: bytes | memoryview) -> None:
        """The next bytes of the current entry. Raises ValueError beyond its size."""
        if len(data) > self._owed:
            raise ValueError("more content than the tar header promised")
        self._owed -= len(data)
        self._write(data)

    def content_elsewhere(self) -> None:
        """The whole content of the current entry goes its own way to where we write."""
        self._owed = 0

    def add_bytes(self, entry: TarEntry, data: bytes) -> None:
        """A regular file with its content."""
        self.finish()
        entry.size = len(data)
        self._write(b"".join((header_of(entry), data, _ZEROS[: -len(data) % BLOCK])))

    def pad(self) -> None:
        """Fill the current entry with zeros up to its size (a file that shrank while it was read)."""
        while self._owed:
            self.content(memoryview(_ZEROS)[: min(self._owed, BLOCK)])

    def close(self) -> None:
        """End the archive: two blocks of zeros."""
        self.finish()
        self._write(_ZEROS * 2)

    def add_blocks(self, data: bytes | bytearray) -> None:
        """Whole entries, as another writer has written and finished them."""
        self.finish()
        self._write(data)

    def finish(self) -> None:
        """End the current entry, whose content has all been given."""
        if self._owed:
            raise ValueError("less content than the tar header promised")
        if self._padding:
            self._write(_ZEROS[: self._padding])
            self._padding = 0


def header_of(entry: TarEntry) -> bytes:
    """The header blocks of an entry, a pax header first if it needs one."""
    name = entry.name + b"/" if entry.is_dir and not entry.name.endswith(b"/") else entry.name
    mtime = entry.mtime_ns // 1_000_000_000
    if _is_plain(entry, name, mtime):
        return _with_checksum(
            _PLAIN
            % (name, bytes(100 - len(name)), entry.mode, entry.uid, entry.gid, entry.size, mtime, entry.type)
        )
    records: dict[bytes, bytes] = {}
    prefix, short = _split_name(name)
    if len(short) > 100:
        records[b"path"] = name
    if len(entry.linkname) > 100:
        records[b"linkpath"] = entry.linkname
    for key, value, most in (
        (b"uid", entry.uid, _OCTAL_7),
        (b"gid", entry.gid, _OCTAL_7),
        (b"size", entry.size, _OCTAL_11),
        (b"mtime", mtime, _OCTAL_11),
    ):
        if not 0 <= value <= most:
            records[key] = b"%d" % value
    for attribute in sorted(entry.xattrs):
        records[b"SCHILY.xattr." + attribute] = entry.xattrs[attribute]
    size = entry.size if entry.type == REGULAR else 0
    block = _block(
        short, prefix, entry.type, entry.mode, entry.uid, entry.gid, size, mtime,
        entry.linkname, entry.major, entry.minor,
    )  # fmt: skip
    return _pax_blocks(records) + block if records else block


def _is_plain(entry: TarEntry, name: bytes, mtime: int) -> bool:
    return (
        entry.type == REGULAR
        and len(name) <= 100
        and not entry.xattrs
        and 0 <= entry.uid <= _OCTAL_7
        and 0 <= entry.gid <= _OCTAL_7
        and entry.size <= _OCTAL_11
        and 0 <= mtime <= _OCTAL_11
    )


def _split_name(name: bytes) -> tuple[bytes, bytes]:
    """(prefix, name) such that both fit ustar's fields, or (b"", name) if they cannot."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101, len(name) - 1)
    if 0 < cut <= 155:
        return name[:cut], name[cut + 1 :]
    return b"", name


def _block(
    name: bytes, prefix: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int,
    linkname: bytes, major: int, minor: int,
) -> bytes:  # fmt: skip
    raw = _HEADER.pack(
        name[:100], b"%07o" % mode, _octal(uid, 7), _octal(gid, 7), _octal(size, 11), _octal(mtime, 11),
        b"        ", kind, linkname[:100], b"ustar\0", b"00", b"", b"", _octal(major, 7), _octal(minor, 7),
        prefix,
    )  # fmt: skip
    return _with_checksum(raw)


def _with_checksum(raw: bytes) -> bytes:
    # The sum of all bytes, which Adler-32 has in its lower half as long as it does not overflow.
    total = (adler32(raw[:256]) & 0xFFFF) + (adler32(raw[256:]) & 0xFFFF) - 2
    return raw[:148] + b"%06o\0 " % total + raw[156:]


def _octal(value: int, digits: int) -> bytes:
    # What does not fit stands in the pax header.
    return b"%0*o" % (digits, value) if 0 <= value < 8**digits else b"0" * digits


def _pax_blocks(records: dict[bytes, bytes]) -> bytes:
    data = b"".join(_pax_record(key, value) for key, value in records.items())
    block = _block(b"././@PaxHeader", b"", b"x", 0o644, 0, 0, len(data), 0, b"", 0, 0)
    return block + data + bytes(-len(data) % BLOCK)


def _pax_record(key: bytes, value: bytes) -> bytes:
    # The length counts its own digits.
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %s=%s\n" % (length, key, value)
