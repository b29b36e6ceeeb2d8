"""Spooling an image archive (docker-archive or OCI layout in a tar) to disk, in one pass.

An archive's manifest may stand behind what it describes, so every member is kept until it has been
read: small ones in memory, the others as files below a temporary directory, hashed while they are
written. Names from the archive are keys of a dictionary, never paths.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from corten.digest import Digest, from_hex
from corten.linux.files import write_all
from corten.oci.image import MAX_CONFIG_BYTES
from corten.snapshots.decompress import Limits, decompressed
from corten.snapshots.errors import BadArchive, TooLarge
from corten.snapshots.tar_reader import HARD_LINK, REGULAR, SYMLINK, TarReader, normalized_name

_READ = 256 << 10
_SMALL = 64 << 10
MAX_MEMBERS = 20_000
_MAX_LINKS = 32


@dataclass(slots=True)
class Member:
    """One file of the archive. Exactly one of `data` and `path` is set."""

    digest: Digest
    size: int
    data: bytes | None = None
    path: str = ""

    def read(self, limit: int = MAX_CONFIG_BYTES) -> bytes:
        """The content. Raises BadArchive beyond `limit` bytes."""
        if self.size > limit:
            raise BadArchive(f"archive member is larger than {limit} bytes")
        if self.data is not None:
            return self.data
        with open(self.path, "rb") as f:
            return f.read()

    def open(self) -> int:
        """A readable fd at the beginning, the caller's to close."""
        if self.data is None:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fd = os.memfd_create("corten-member", os.MFD_CLOEXEC)
        os.write(fd, self.data)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd


class SpooledArchive:
    """The members of an archive by name; `directory` holds the large ones and belongs to the caller."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._members: dict[bytes, Member] = {}
        self._links: dict[bytes, bytes] = {}

    @property
    def directory(self) -> str:
        """Where the large members are."""
        return self._directory

    def find(self, name: str) -> Member | None:
        """The member of that name, links inside the archive followed."""
        try:
            key = normalized_name(os.fsencode(name))
        except BadArchive:
            return None
        for _ in range(_MAX_LINKS):
            member = self._members.get(key)
            if member is not None:
                return member
            if key not in self._links:
                return None
            key = self._links[key]
        return None

    def get(self, name: str) -> Member:
        """As `find`. Raises BadArchive if there is none."""
        member = self.find(name)
        if member is None:
            raise BadArchive(f"open {name}: no such file or directory")
        return member

    def blob(self, digest: str) -> Member:
        """The content of an OCI layout with this digest, which has been verified. Raises BadArchive."""
        member = self.get("blobs/" + digest.replace(":", "/", 1))
        if member.digest != digest:
            raise BadArchive(f"archive content {digest} has the digest {member.digest}")
        return member

    def has_blob(self, digest: str) -> bool:
        """Whether the archive brings this content."""
        return self.find("blobs/" + digest.replace(":", "/", 1)) is not None

    def spool(self, fd: int, limits: Limits) -> None:
        """Read the whole archive from `fd`. Blocks. Raises BadArchive, OSError."""
        reader = TarReader(decompressed(_chunks(fd), limits))
        for entry in reader:
            if len(self._members) + len(self._links) >= MAX_MEMBERS:
                raise TooLarge(f"archive has more than {MAX_MEMBERS} members")
            name = normalized_name(entry.name)
            if entry.type == REGULAR and entry.sparse is None:
                self._links.pop(name, None)
                self._members[name] = self._store(reader, entry.size)
            elif entry.type == SYMLINK:
                # docker save before 25 wrote <id>/layer.tar as a link to another image's.
                self._links[name] = normalized_name(name.rpartition(b"/")[0] + b"/" + entry.linkname)
            elif entry.type == HARD_LINK:
                self._links[name] = normalized_name(entry.linkname)

    def _store(self, reader: TarReader, size: int) -> Member:
        if size <= _SMALL:
            data = reader.read(_SMALL)
            return Member(from_hex(hashlib.sha256(data).hexdigest()), size, data)
        path = os.path.join(self._directory, str(len(self._members)))
        content = hashlib.sha256()
        with open(path, "xb", buffering=0) as f:
            for piece in reader.content():
                content.update(piece)
                write_all(f.fileno(), piece)
        return Member(from_hex(content.hexdigest()), size, path=path)


def _chunks(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _READ):
        yield data
