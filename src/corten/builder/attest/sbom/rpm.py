"""The database of rpm, where it is SQLite (since rpm 4.16): a table of headers, of which a few tags are read.

A header: counts of tags and bytes, the tags (number, type, offset, count, four bytes each, big-endian), the
bytes. Older databases (Berkeley DB, ndb) are refused. Source: rpm's docs/manual/hregions.md, rpmtag.h.
"""

from __future__ import annotations

import sqlite3
import struct
import tempfile
from collections.abc import Iterator

from corten.builder.attest.sbom.packages import MAX_PACKAGES, Package, TooMuch, clean
from corten.builder.attest.sbom.reading import read
from corten.errors import InvalidParameter

_PLACES = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
_OTHERS = ("Packages", "Packages.db")
_MAX_DATABASE = 512 << 20
_MAX_TAGS = 10_000
_STEPS = 50_000_000  # instructions of SQLite's machine: a second or so
_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_VENDOR, _LICENSE, _URL, _ARCHITECTURE, _SOURCE = 1011, 1014, 1020, 1022, 1044
_INT32, _STRING, _STRINGS, _I18N = 4, 6, 8, 9


def rpm(root: int) -> Iterator[Package]:
    """What rpm has installed. Raises InvalidParameter for a database that cannot be read."""
    for place in _PLACES:
        path = f"{place}/rpmdb.sqlite"
        data = read(root, path, _MAX_DATABASE)
        if data is not None:
            for header in _headers(data, path):
                yield _package(header, path)
            return
        for other in _OTHERS:
            if read(root, f"{place}/{other}", _MAX_DATABASE):
                raise InvalidParameter(
                    f"the rpm database {place}/{other} is in a form that only rpm itself can read: "
                    "use a scanner (--sbom=generator=IMAGE)"
                )


def _headers(data: bytes, path: str) -> Iterator[bytes]:
    """The blobs, from a copy that belongs to us: SQLite takes names, not fds."""
    with tempfile.NamedTemporaryFile(prefix="rpmdb-") as copy:
        copy.write(data)
        copy.flush()
        database = sqlite3.connect(f"file:{copy.name}?mode=ro&immutable=1", uri=True)
        try:
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            database.set_authorizer(_only_reading)
            database.set_progress_handler(lambda: 1, _STEPS)
            for number, (blob,) in enumerate(database.execute("SELECT blob FROM Packages ORDER BY hnum")):
                if number > MAX_PACKAGES:
                    raise TooMuch(f"an SBOM of more than {MAX_PACKAGES} packages is not made")
                if isinstance(blob, bytes):
                    yield blob
        except sqlite3.Error as error:
            raise InvalidParameter(f"the rpm database {path} cannot be read: {error}") from error
        finally:
            database.close()


def _only_reading(action: int, *_: object) -> int:
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY


def _package(header: bytes, path: str) -> Package:
    tags = _tags(header)
    version, release = tags.get(_VERSION, ""), tags.get(_RELEASE, "")
    return Package(
        kind="rpm",
        name=tags.get(_NAME, ""),
        version=f"{version}-{release}" if version and release else version,
        found=path,
        architecture=tags.get(_ARCHITECTURE, ""),
        epoch=tags.get(_EPOCH, ""),
        license=tags.get(_LICENSE, ""),
        supplier=tags.get(_VENDOR, ""),
        homepage=tags.get(_URL, ""),
        source=tags.get(_SOURCE, ""),
    )


def _tags(header: bytes) -> dict[int, str]:
    """The tags that are text or a number; those that lead outside the header are left out."""
    if len(header) < 8:
        return {}
    count, size = struct.unpack_from(">II", header)
    start = 8 + 16 * count
    if count > _MAX_TAGS or start + size > len(header):
        return {}
    found: dict[int, str] = {}
    for number in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", header, 8 + 16 * number)
        if offset >= size:
            continue
        position = start + offset
        if kind == _INT32 and offset + 4 <= size:
            found.setdefault(tag, str(struct.unpack_from(">I", header, position)[0]))
        elif kind in (_STRING, _STRINGS, _I18N):
            end = header.find(b"\0", position, start + size)
            if end >= 0:
                found.setdefault(tag, clean(header[position:end].decode(errors="replace")))
    return found
