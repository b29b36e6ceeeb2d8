"""Spooling an image archive (docker-archive or OCI layout in a tar) to disk, in one pass.

An archive's manifest may stand behind what it describes, so every member is kept until it has been
read: small ones in memory, the others as files below a temporary directory, hashed while they are
written. A file that looks like a layer can be followed while it comes, before anybody knows what it is.
Names from the archive are keys of a dictionary, never paths.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from corten.digest import Digest, from_hex
from corten.linux.files import write_all
from corten.oci.image import MAX_CONFIG_BYTES
from corten.snapshots.arrival import Arrival
from corten.snapshots.decompress import Limits, decompressed
from corten.snapshots.errors import BadArchive, TooLarge
from corten.snapshots.tar_reader import HARD_LINK, REGULAR, SYMLINK, TarReader, normalized_name

_SMALL = 64 << 10
_IN_MEMORY = 32 << 20
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


class Follower(Protocol):
    """Whoever wants to read members while they are written."""

    def follow(self, name: bytes, path: str, size: int, head: memoryview) -> Arrival | None:
        """Told of a large member's first bytes: what to tell its progress to. The spooling thread's."""


class SpooledArchive:
    """The members of an archive by name; `directory` holds the large ones and belongs to the caller."""

    def __init__(self, directory: str, follower: Follower | None = None) -> None:
        self._directory = directory
        self._follower = follower
        self._in_memory = 0
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

    def spool(self, chunks: Iterable[bytes], limits: Limits) -> None:
        """Read the whole archive. Blocks. Raises BadArchive, OSError."""
        reader = TarReader(decompressed(chunks, limits))
        for entry in reader:
            if len(self._members) + len(self._links) >= MAX_MEMBERS:
                raise TooLarge(f"archive has more than {MAX_MEMBERS} members")
            name = normalized_name(entry.name)
            if entry.type == REGULAR and entry.sparse is None:
                self._links.pop(name, None)
                self._members[name] = self._store(reader, name, entry.size)
            elif entry.type == SYMLINK:
                # docker save before 25 wrote <id>/layer.tar as a link to another image's.
                self._links[name] = normalized_name(name.rpartition(b"/")[0] + b"/" + entry.linkname)
            elif entry.type == HARD_LINK:
                self._links[name] = normalized_name(entry.linkname)

    def _store(self, reader: TarReader, name: bytes, size: int) -> Member:
        if size <= _SMALL and self._in_memory + size <= _IN_MEMORY:
            self._in_memory += size
            data = reader.read(_SMALL)
            return Member(from_hex(hashlib.sha256(data).hexdigest()), size, data)
        path = os.path.join(self._directory, str(len(self._members)))
        content = hashlib.sha256()
        arrival: Arrival | None = None
        written = 0
        with open(path, "xb", buffering=0) as f:
            for piece in reader.content():
                content.update(piece)
                write_all(f.fileno(), piece)
                if written == 0 and self._follower is not None:
                    arrival = self._follower.follow(name, path, size, piece)
                written += len(piece)
                if arrival is not None:
                    if written == size:
                        arrival.digest = from_hex(content.hexdigest())
                    arrival.advance(written)
        return Member(from_hex(content.hexdigest()), size, path=path)
