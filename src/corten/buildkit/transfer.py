"""A list of files that a client sends, and the content of those that are asked for (fsutil's protocol).

Everything in it is hostile. Entries must come in order, each below a directory that came before it; what is
neither file, directory, symlink nor FIFO is left out. No I/O.
"""

from __future__ import annotations

import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache

from google.protobuf.message import DecodeError

from corten.builder.treeindex import Attributes, Known
from corten.buildkit.grpc.call import framed
from corten.buildkit.proto.files_pb2 import DATA, ERROR, FIN, REQUEST, STAT, Packet, Stat
from corten.errors import InvalidParameter
from corten.wire.gomode import from_go

_PATH_MAX, _NAME_MAX = 4096, 255
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO)
_MAX_ENTRIES = 5_000_000
_MAX_MESSAGE = 16 << 20  # as BuildKit has it
_PREFIX = 5  # of a gRPC message: a flag and its length
_ODD = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\0")  # empty names, ".", ".."; NUL
_mode = lru_cache(maxsize=1024)(from_go)


class BadTree(InvalidParameter):
    """The client's files are not what the protocol allows."""


class Transfer(ABC):
    """`feed` bytes until `complete`; any one thread at a time. `close` it whatever happens.

    `count`: entries so far; `size`: bytes of all files, as the list has it. `max_listed`: bytes of entries,
    which are in memory until the transfer ends.
    """

    max_listed = 1 << 30

    def __init__(self, before: Mapping[str, Known] | None = None) -> None:
        """`before`: what an earlier transfer has brought, by path."""
        self._before = before or {}
        self._files: dict[str, Known] = {}
        self._asked: set[int] = set()
        self._answers: list[Packet] = []
        self._last = b""
        self._partial = bytearray()  # the beginning of a message of which `_awaited` bytes must have come
        self._awaited = _PREFIX
        self._listed = False
        self._listed_bytes = 0
        self._finished = False
        self.complete = False
        self.count = 0
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Act on gRPC messages, in any pieces; what is to be answered. Raises BadTree, OSError."""
        if self._partial:
            self._partial += data
            if len(self._partial) < self._awaited:
                return b""
            data = bytes(self._partial)
        start, size = 0, len(data)
        while size - start >= _PREFIX:
            length = int.from_bytes(data[start + 1 : start + _PREFIX], "big")
            if length > _MAX_MESSAGE:
                raise BadTree(f"received message larger than max ({length} vs. {_MAX_MESSAGE})")
            if data[start]:
                raise BadTree("a compressed message, which was not asked for")
            end = start + _PREFIX + length
            if end > size:
                self._awaited = end - start
                break
            try:
                packet = Packet.FromString(data[start + _PREFIX : end])
            except DecodeError:
                raise BadTree("a message that is none of the protocol's") from None
            self._packet(packet)
            start = end
        else:
            self._awaited = _PREFIX
        self._partial = bytearray(data[start:])
        if self._listed and not self._asked and not self._finished:
            self._finish()
            self._answers.append(Packet(type=FIN))
            self._finished = True
        answers, self._answers = self._answers, []
        return b"".join(map(framed, answers))

    @property
    def finished(self) -> bool:
        """Whether everything has come and our own end has been said."""
        return self._finished

    def _packet(self, packet: Packet) -> None:
        kind = packet.type
        if kind == STAT:
            if self._listed:
                raise BadTree("files after the end of the list")
            if packet.HasField("stat"):
                self._listed_bytes += packet.ByteSize()
                self._entry(packet.stat)
            else:
                self._listed = True
                self._end_list()
        elif kind == DATA:
            self._data(packet.id, packet.data)
        elif kind == FIN:
            if not self._finished:
                raise BadTree("the client ended the transfer before all files had come")
            self.complete = True
        elif kind == ERROR:
            raise InvalidParameter(f"error from sender: {packet.data.decode(errors='replace')}")

    def _entry(self, entry: Stat) -> None:
        identifier = self.count
        self.count += 1
        if self.count > _MAX_ENTRIES or self._listed_bytes > self.max_listed:
            raise BadTree("too many files in the build context")
        path, link = _name(entry.path), _name(entry.link)
        known = self._before.get(path)
        parent, _, name = path.rpartition("/")
        if known is None:
            _check_name(path, name)
        self._check_place(path, parent, entry.path)
        mode = _mode(entry.mode)
        if stat.S_IFMT(mode) not in _KINDS:
            return
        if link or stat.S_ISLNK(mode):
            self._check_link(path, mode, link)
        xattrs = tuple(sorted(entry.xattrs.items())) if entry.xattrs else ()
        if stat.S_ISREG(mode):
            self.size += entry.size
        attributes = (mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, link, xattrs)
        self._take(path, attributes, known, identifier)

    def _check_place(self, path: str, parent: str, raw: bytes) -> None:
        if parent and not self._is_directory(parent):
            raise BadTree(f"{path!r} comes before its directory")
        place = raw.replace(b"/", b"\0")  # a name's bytes sort after the end of a shorter one
        if place <= self._last:
            raise BadTree(f"{path!r} is out of order")
        self._last = place

    def _check_link(self, path: str, mode: int, link: str) -> None:
        if stat.S_ISREG(mode):
            first = self._files.get(link)
            if first is None or not stat.S_ISREG(first[0][0]) or first[0][5]:
                raise BadTree(f"invalid hardlink {path!r} to {link!r}")
        elif stat.S_ISLNK(mode) and (not link or "\0" in link or len(os.fsencode(link)) >= _PATH_MAX):
            raise BadTree(f"invalid target of the symlink {path!r} in the build context")

    def _is_directory(self, path: str) -> bool:
        known = self._files.get(path)
        return known is not None and stat.S_ISDIR(known[0][0])

    def _ask(self, identifier: int) -> None:
        """Ask for a file's content."""
        self._asked.add(identifier)
        self._answers.append(Packet(type=REQUEST, id=identifier))

    def _data(self, identifier: int, data: bytes) -> None:
        if identifier not in self._asked:
            raise BadTree(f"data of file {identifier}, which was not asked for")
        if not data:
            self._asked.remove(identifier)
        self._content(identifier, data)

    # -- what becomes of it ---------------------------------------------------------------------

    @abstractmethod
    def _take(self, path: str, attributes: Attributes, known: Known | None, identifier: int) -> None:
        """Enter it into `_files`. `known`: what was there before; `identifier`: to ask for its content by."""

    @abstractmethod
    def _content(self, identifier: int, data: bytes) -> None:
        """A piece of what was asked for; b"" after the last."""

    def _end_list(self) -> None:  # noqa: B027 - not everyone has something to do
        """All entries have come."""

    def _finish(self) -> None:  # noqa: B027
        """All that was asked for has come."""

    def close(self) -> None:  # noqa: B027
        """Give up what is open."""


def _name(raw: bytes) -> str:
    """A path as functions of `os` take it, also one that is no UTF-8 (quicker than os.fsdecode)."""
    return str(raw, "utf-8", "surrogateescape")


def _check_name(path: str, name: str) -> None:
    if not path or _ODD.search(path):
        raise BadTree(f"invalid path {path!r} in the build context")
    if len(os.fsencode(path)) >= _PATH_MAX or len(os.fsencode(name)) > _NAME_MAX:
        raise BadTree(f"{path[:64]!r}... in the build context is too long a name")
