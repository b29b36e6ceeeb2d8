"""eStargz: a gzip'ed tar whose files can be read one by one, by readers that know its table of contents.

::

    header │ content, a gzip member per chunk │ header │ ... │ stargz.index.json │ footer (51 bytes)

For all others it is an ordinary layer with two more files in it, so that its diff id is another one.

Source: containerd/stargz-snapshotter, docs/stargz-estargz.md.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from corten.digest import from_hex
from corten.snapshots.errors import BadArchive
from corten.snapshots.tar_reader import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    TarEntry,
    TarReader,
    normalized_name,
)
from corten.snapshots.tar_writer import TarWriter
from corten.units import format_time

Json: TypeAlias = "dict[str, Any]"

_TABLE = b"stargz.index.json"
_LANDMARK = b".no.prefetch.landmark"
_LANDMARK_CONTENT = b"\x0f"
_NOT_CONTENT = (_TABLE, _LANDMARK, b".prefetch.landmark")
_CHUNK = 4 << 20
_LEVEL = 9
_GZIP = 31  # wbits: with gzip's header
_TYPES = {
    DIRECTORY: "dir",
    REGULAR: "reg",
    SYMLINK: "symlink",
    HARD_LINK: "hardlink",
    CHARACTER: "char",
    BLOCK_DEVICE: "block",
    FIFO: "fifo",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stargz:
    """What was written: digest and length of the blob, of the tar in it (`diff_id`), digest of the table."""

    digest: str
    length: int
    diff_id: str
    table: str
    uncompressed: int


class _Members:
    """gzip members one after the other."""

    def __init__(self, write: Callable[[bytes], object], level: int) -> None:
        self._write = write
        self._level = level
        self._packer: Any = None
        self._packed = hashlib.sha256()
        self._plain = hashlib.sha256()
        self.offset = 0
        self.uncompressed = 0

    def plain(self, data: bytes | bytearray | memoryview) -> None:
        """Content, into the member that is open."""
        if self._packer is None:
            self._packer = zlib.compressobj(self._level, zlib.DEFLATED, _GZIP)
        self._plain.update(data)
        self.uncompressed += len(data)
        self.raw(self._packer.compress(data))

    def cut(self) -> None:
        """End the member; what comes next begins one."""
        if self._packer is not None:
            self.raw(self._packer.flush())
            self._packer = None

    def raw(self, data: bytes) -> None:
        """Bytes of the blob."""
        if data:
            self._packed.update(data)
            self.offset += len(data)
            self._write(data)

    @property
    def digests(self) -> tuple[str, str]:
        """Of the blob, of its content."""
        return from_hex(self._packed.hexdigest()), from_hex(self._plain.hexdigest())


def write_stargz(tar: Iterable[bytes], write: Callable[[bytes], object], level: int | None = None) -> Stargz:
    """Write the tar as eStargz. Raises BadArchive, also for sparse files, which it has no form for."""
    members = _Members(write, _LEVEL if level is None else level)
    writer = TarWriter(members.plain)
    reader = TarReader(tar)
    entries: list[Json] = []
    _add(writer, members, entries, TarEntry(_LANDMARK), [_LANDMARK_CONTENT])
    for entry in reader:
        if normalized_name(entry.name) in _NOT_CONTENT:
            continue
        if entry.sparse is not None or entry.type not in _TYPES:
            raise BadArchive(f"{entry.name[:200]!r} has no form in eStargz")
        _add(writer, members, entries, entry, map(bytes, reader.content()))
    writer.finish()
    members.cut()
    at = members.offset
    table = msgspec.json.format(msgspec.json.encode({"version": 1, "entries": entries}), indent=1)
    writer.add_bytes(TarEntry(_TABLE), table)
    writer.close()
    members.cut()
    members.raw(_footer(at))
    digest, diff_id = members.digests
    return Stargz(
        digest=digest,
        length=members.offset,
        diff_id=diff_id,
        table=from_hex(hashlib.sha256(table).hexdigest()),
        uncompressed=members.uncompressed,
    )


def _add(
    writer: TarWriter, members: _Members, entries: list[Json], entry: TarEntry, content: Iterable[bytes]
) -> None:
    described = _described(entry)
    if entry.type != REGULAR:
        writer.add(entry)
        entries.append(described)
        return
    if entry.name == _LANDMARK:
        entry.size = len(_LANDMARK_CONTENT)
        described["size"] = entry.size
    writer.add(entry)
    chunks: list[Json] = []
    whole = hashlib.sha256()
    for offset, chunk in _chunks(content):
        members.cut()
        whole.update(chunk)
        found: Json = {
            "offset": members.offset,
            "chunkDigest": from_hex(hashlib.sha256(chunk).hexdigest()),
        }
        if offset:
            found |= {"name": described["name"], "type": "chunk", "chunkOffset": offset}
        if entry.size > _CHUNK:
            found["chunkSize"] = len(chunk)
        chunks.append(found)
        writer.content(chunk)
    members.cut()
    described["digest"] = from_hex(whole.hexdigest())
    first, *others = chunks or [{}]
    entries.append({**described, **first})
    entries.extend(others)


def _chunks(content: Iterable[bytes]) -> Iterable[tuple[int, bytes]]:
    """(offset, bytes) of at most a chunk's size, all but the last of exactly that."""
    waiting = bytearray()
    offset = 0
    for piece in content:
        waiting += piece
        while len(waiting) >= _CHUNK:
            yield offset, bytes(waiting[:_CHUNK])
            del waiting[:_CHUNK]
            offset += _CHUNK
    if waiting:
        yield offset, bytes(waiting)


def _described(entry: TarEntry) -> Json:
    found: Json = {
        "name": _text(normalized_name(entry.name)) or "./",
        "type": _TYPES[entry.type],
        "modtime": format_time(entry.mtime_ns // 1_000_000_000 * 1_000_000_000),
        "mode": entry.mode & 0o7777,
        "uid": entry.uid,
        "gid": entry.gid,
    }
    if entry.type == REGULAR and entry.size:
        found["size"] = entry.size
    if entry.linkname:
        found["linkName"] = _text(entry.linkname)
    if entry.type in (CHARACTER, BLOCK_DEVICE):
        found |= {"devMajor": entry.major, "devMinor": entry.minor}
    if entry.xattrs:
        found["xattrs"] = {
            _text(name): base64.b64encode(value).decode() for name, value in sorted(entry.xattrs.items())
        }
    return found


def _text(name: bytes) -> str:
    """JSON has no other bytes."""
    return name.decode(errors="replace")


def _footer(table: int) -> bytes:
    """An empty gzip member whose extra field says where the table's member begins."""
    extra = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % table
    header = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff" + struct.pack("<H", len(extra)) + extra
    return header + b"\x01\x00\x00\xff\xff" + bytes(8)
