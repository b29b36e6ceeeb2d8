"""A tree of files that a client sends (fsutil's protocol), written below a directory: no I/O but to the disk.

The directory may hold what an earlier transfer has brought, of which an index is kept. A file that has all
attributes which the client names is taken for unchanged, as rsync does it, and not asked for; what the
client no longer has is removed. Files are never written to again, only replaced: layers may share them by
hard links.

Everything in it is hostile. Entries must come in order, each below a directory that came before it, so no
symlink of theirs is ever followed; what is neither file, directory, symlink nor FIFO is left out.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

from google.protobuf.message import DecodeError

from corten.builder.treeindex import Attributes, Known, TreeIndex
from corten.buildkit.gomode import from_go
from corten.buildkit.grpc.call import framed
from corten.buildkit.proto.files_pb2 import DATA, ERROR, FIN, REQUEST, STAT, Packet, Stat
from corten.errors import InvalidParameter
from corten.linux.files import write_all
from corten.snapshots.xattrs import get_portable, is_portable, set_portable

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX, _NAME_MAX = 4096, 255
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO)
_MAX_ENTRIES = 5_000_000
_MAX_LISTED = 1 << 30  # bytes of entries: they are in memory until the transfer ends
_MAX_MESSAGE = 16 << 20  # as BuildKit has it
_PREFIX = 5  # of a gRPC message: a flag and its length
_NO_CONTENT = hashlib.sha256().digest()
_ODD = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\0")  # empty names, ".", ".."; NUL
_mode = lru_cache(maxsize=1024)(from_go)


@dataclass(slots=True)
class _Arriving:
    """A file whose content is under way; opened at its first piece, so that few are open at once."""

    path: str
    attributes: Attributes
    fd: int = -1
    content: hashlib._Hash = field(default_factory=hashlib.sha256)


class BadTree(InvalidParameter):
    """The client's files are not what the protocol allows."""


class ReceivedTree:
    """`feed` bytes until `complete`; blocking, any one thread at a time. `close` it whatever happens."""

    def __init__(self, directory: str, index: str = "") -> None:
        """index: a file that knows what is in the directory; "" = the directory is empty, and none is kept.

        A transfer that ends early leaves no index: then the directory is of no use any more.
        """
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._index_path = index
        self._old = TreeIndex.load(index).files if index else {}
        if self._old:
            os.unlink(index)
        self._index = TreeIndex()
        self._files = self._index.files
        self._changed: set[str] = set()  # directories in which something has changed
        self._arriving: dict[int, _Arriving] = {}
        self._links: list[str] = []
        self._last = ""
        self._partial = b""
        self._listed = False
        self._listed_bytes = 0
        self._finished = False
        self.complete = False
        self.count = 0
        self.size = 0

    def feed(self, data: bytes) -> bytes:
        """Act on gRPC messages, in any pieces; what is to be answered. Raises BadTree, OSError."""
        if self._partial:
            data = self._partial + data
        start, size = 0, len(data)
        answers: list[Packet] = []
        while size - start >= _PREFIX:
            length = int.from_bytes(data[start + 1 : start + _PREFIX], "big")
            if length > _MAX_MESSAGE:
                raise BadTree(f"received message larger than max ({length} vs. {_MAX_MESSAGE})")
            if data[start]:
                raise BadTree("a compressed message, which was not asked for")
            end = start + _PREFIX + length
            if end > size:
                break
            try:
                packet = Packet.FromString(data[start + _PREFIX : end])
            except DecodeError:
                raise BadTree("a message that is none of the protocol's") from None
            self._packet(packet, answers)
            start = end
        self._partial = data[start:]
        if self._listed and not self._arriving and not self._finished:
            self._finish()
            answers.append(Packet(type=FIN))
            self._finished = True
        return b"".join(map(framed, answers))

    @property
    def finished(self) -> bool:
        """Whether everything has come and our own end has been said."""
        return self._finished

    def _packet(self, packet: Packet, answers: list[Packet]) -> None:
        kind = packet.type
        if kind == STAT:
            if self._listed:
                raise BadTree("files after the end of the list")
            if packet.HasField("stat"):
                self._listed_bytes += packet.ByteSize()
                self._entry(packet.stat, answers)
            else:
                self._listed = True
        elif kind == DATA:
            self._data(packet)
        elif kind == FIN:
            if not self._finished:
                raise BadTree("the client ended the transfer before all files had come")
            self.complete = True
        elif kind == ERROR:
            raise InvalidParameter(f"error from sender: {packet.data.decode(errors='replace')}")

    # -- the list -------------------------------------------------------------------------------

    def _entry(self, entry: Stat, answers: list[Packet]) -> None:
        identifier = self.count
        self.count += 1
        if self.count > _MAX_ENTRIES or self._listed_bytes > _MAX_LISTED:
            raise BadTree("too many files in the build context")
        path = entry.path
        known = self._old.get(path)
        parent, _, name = path.rpartition("/")
        if known is None:
            _check_name(path, name)
        self._check_place(path, parent)
        mode = _mode(entry.mode)
        if stat.S_IFMT(mode) not in _KINDS:
            return
        xattrs = tuple(sorted(entry.xattrs.items())) if entry.xattrs else ()
        attributes = (mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.link, xattrs)
        is_file = stat.S_ISREG(mode)
        if is_file:
            self.size += entry.size
        if known is not None and known[0] == attributes and not (is_file and entry.link):
            self._files[path] = known
            return
        self._changed.add(parent)
        if stat.S_ISDIR(mode):
            self._directory(path, attributes, known)
            return
        if known is not None:
            self._remove(path, known[0][0])
        if is_file:
            self._file(path, attributes, identifier, answers)
            return
        self._special(path, attributes)
        self._files[path] = (attributes, b"")

    def _check_place(self, path: str, parent: str) -> None:
        if parent and not self._is_directory(parent):
            raise BadTree(f"{path!r} comes before its directory")
        place = path.replace("/", "\0")  # a name's bytes sort after the end of a shorter one
        if place <= self._last:
            raise BadTree(f"{path!r} is out of order")
        self._last = place

    def _is_directory(self, path: str) -> bool:
        known = self._files.get(path)
        return known is not None and stat.S_ISDIR(known[0][0])

    def _directory(self, path: str, attributes: Attributes, known: Known | None) -> None:
        if known is None or not stat.S_ISDIR(known[0][0]):
            if known is not None:
                self._remove(path, known[0][0])
            os.mkdir(path, 0o700, dir_fd=self._root)
        self._changed.add(path)
        self._files[path] = (attributes, b"" if known is None else known[1])

    def _special(self, path: str, attributes: Attributes) -> None:
        mode, uid, gid, _, mtime_ns, link, _ = attributes
        if stat.S_ISLNK(mode):
            if not link or "\0" in link or len(link.encode()) >= _PATH_MAX:
                raise BadTree(f"invalid target of the symlink {path!r} in the build context")
            os.symlink(link, path, dir_fd=self._root)
        else:
            os.mkfifo(path, 0o600, dir_fd=self._root)
            os.chmod(path, stat.S_IMODE(mode), dir_fd=self._root)
        os.chown(path, uid, gid, dir_fd=self._root, follow_symlinks=False)
        os.utime(path, ns=(mtime_ns, mtime_ns), dir_fd=self._root, follow_symlinks=False)

    def _file(self, path: str, attributes: Attributes, identifier: int, answers: list[Packet]) -> None:
        size, link = attributes[3], attributes[5]
        self._files[path] = (attributes, _NO_CONTENT)
        if link:
            first = self._files.get(link)
            if first is None or not stat.S_ISREG(first[0][0]) or first[0][5]:
                raise BadTree(f"invalid hardlink {path} to {link}")
            self._links.append(path)
            return
        arriving = _Arriving(path, attributes)
        if size:
            self._arriving[identifier] = arriving
            answers.append(Packet(type=REQUEST, id=identifier))
        else:
            self._open(arriving)
            self._close(arriving)

    def _remove(self, path: str, mode: int) -> None:
        if stat.S_ISDIR(mode):
            shutil.rmtree(path, dir_fd=self._root)
        else:
            with suppress(FileNotFoundError):  # a hard link that a broken list has left unmade
                os.unlink(path, dir_fd=self._root)

    # -- contents -------------------------------------------------------------------------------

    def _data(self, packet: Packet) -> None:
        arriving = self._arriving.get(packet.id)
        if arriving is None:
            raise BadTree(f"data of file {packet.id}, which was not asked for")
        if arriving.fd < 0:
            self._open(arriving)
        data = packet.data
        if not data:
            del self._arriving[packet.id]
            self._close(arriving)
            return
        arriving.content.update(data)
        write_all(arriving.fd, data)

    def _open(self, arriving: _Arriving) -> None:
        arriving.fd = os.open(arriving.path, _CREATE, 0o600, dir_fd=self._root)

    def _close(self, arriving: _Arriving) -> None:
        fd = arriving.fd
        try:
            _set_attributes(fd, arriving.attributes)
        finally:
            arriving.fd = -1
            os.close(fd)
        self._files[arriving.path] = (arriving.attributes, arriving.content.digest())

    # -- the end --------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Hard links wait for their files, and directories' times for all that is written below them."""
        self._remove_others()
        for path in self._links:
            attributes = self._files[path][0]
            link = attributes[5]
            os.link(link, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
            self._files[path] = (attributes, self._files[link][1])
        for path in self._changed:
            known = self._files.get(path)
            if known is not None:
                fd = os.open(path, _DIRECTORY, dir_fd=self._root)
                try:
                    _drop_xattrs(fd, known[0])
                    _set_attributes(fd, known[0])
                finally:
                    os.close(fd)
        if self._index_path:
            self._files[""] = ((stat.S_IFDIR, 0, 0, 0, 0, "", ()), self._old.get("", (None, b""))[1])
            self._index.digest_directories(self._changed or ([] if self._old else [""]))
            self._index.save(self._index_path)

    def _remove_others(self) -> None:
        """Remove what the client no longer has."""
        for path in self._old.keys() - self._files.keys() - {""}:
            parent = path.rpartition("/")[0]
            if not parent or self._is_directory(parent):  # else it goes with its directory
                self._changed.add(parent)
                self._remove(path, self._old[path][0][0])

    def close(self) -> None:
        """Close all files."""
        for arriving in self._arriving.values():
            if arriving.fd >= 0:
                os.close(arriving.fd)
        self._arriving.clear()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


def _check_name(path: str, name: str) -> None:
    if not path or _ODD.search(path):
        raise BadTree(f"invalid path {path!r} in the build context")
    if len(path.encode()) >= _PATH_MAX or len(name.encode()) > _NAME_MAX:
        raise BadTree(f"{path[:64]!r}... in the build context is too long a name")


def _drop_xattrs(fd: int, attributes: Attributes) -> None:
    """Take away what a directory that was here before has and these attributes have not."""
    wanted = {name.encode() for name, _ in attributes[6]}
    for name in get_portable(fd).keys() - wanted:
        os.removexattr(fd, name)


def _set_attributes(fd: int, attributes: Attributes) -> None:
    mode, uid, gid, _, mtime_ns, _, xattrs = attributes
    os.fchown(fd, uid, gid)
    os.fchmod(fd, stat.S_IMODE(mode))
    if xattrs:
        set_portable(fd, {name.encode(): value for name, value in xattrs if is_portable(name)})
    os.utime(fd, ns=(mtime_ns, mtime_ns))
