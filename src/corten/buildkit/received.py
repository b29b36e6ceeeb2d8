"""A tree of files that a client sends (fsutil's protocol), written below a directory: no I/O but to the disk.

The directory may hold what an earlier transfer has brought. A file that has all attributes which the client
names is taken for unchanged, as rsync does it, and not asked for; what the client no longer has is removed.

Everything in it is hostile. Entries must come in order, each below a directory that came before it, so no
symlink of theirs is ever followed; what is neither file, directory, symlink nor FIFO is left out.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass

from corten.buildkit.gomode import from_go
from corten.buildkit.proto.files_pb2 import DATA, ERROR, FIN, REQUEST, STAT, Packet, Stat
from corten.errors import InvalidParameter
from corten.snapshots.xattrs import is_portable, set_portable

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX, _NAME_MAX = 4096, 255
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO)
_MAX_ENTRIES = 5_000_000
_MAX_LISTED = 1 << 30  # bytes of entries: they are in memory until the transfer ends


@dataclass(slots=True)
class _Arriving:
    """A file whose content is under way; opened at its first piece, so that few are open at once."""

    stat: Stat
    fd: int = -1


class BadTree(InvalidParameter):
    """The client's files are not what the protocol allows."""


class ReceivedTree:
    """`take` packets until `complete`; blocking, any one thread at a time. `close` it whatever happens."""

    def __init__(self, directory: str) -> None:
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._reuses = bool(os.listdir(directory))
        self._names: dict[str, set[str]] = {}
        self._new: set[str] = set()
        self._parents: set[str] = {""}
        self._files: set[str] = set()
        self._arriving: dict[int, _Arriving] = {}
        self._directories: list[Stat] = []
        self._links: list[Stat] = []
        self._last: list[str] = []
        self._listed = False
        self._listed_bytes = 0
        self._finished = False
        self.complete = False
        self.count = 0
        self.received_bytes = 0
        self.size = 0

    def take(self, packets: list[Packet]) -> list[Packet]:
        """Act on packets; what is to be answered. Raises BadTree, OSError."""
        answers: list[Packet] = []
        for packet in packets:
            if packet.type == STAT:
                self._entry(packet, answers)
            elif packet.type == DATA:
                self._data(packet)
            elif packet.type == FIN:
                if not self._finished:
                    raise BadTree("the client ended the transfer before all files had come")
                self.complete = True
            elif packet.type == ERROR:
                raise InvalidParameter(f"error from sender: {packet.data.decode(errors='replace')}")
        if self._listed and not self._arriving and not self._finished:
            self._finish()
            answers.append(Packet(type=FIN))
            self._finished = True
        return answers

    def _entry(self, packet: Packet, answers: list[Packet]) -> None:
        if self._listed:
            raise BadTree("files after the end of the list")
        if not packet.HasField("stat"):
            self._listed = True
            return
        identifier = self.count
        self.count += 1
        self._listed_bytes += packet.ByteSize()
        if self.count > _MAX_ENTRIES or self._listed_bytes > _MAX_LISTED:
            raise BadTree("too many files in the build context")
        entry = packet.stat
        parent, _, name = entry.path.rpartition("/")
        self._check(entry.path, parent, name)
        mode = from_go(entry.mode)
        if stat.S_IFMT(mode) not in _KINDS:
            return
        self._names.setdefault(parent, set()).add(name)
        if stat.S_ISDIR(mode):
            self._parents.add(entry.path)
            self._directories.append(entry)
        elif stat.S_ISREG(mode):
            self.size += entry.size
            if entry.link:
                if entry.link not in self._files:
                    raise BadTree(f"invalid hardlink {entry.path} to {entry.link}")
                self._links.append(entry)
                self._make_room(entry.path)
                return
            self._files.add(entry.path)
        if not self._is_here(entry, mode):
            self._make(entry, mode, identifier, answers)

    def _is_here(self, entry: Stat, mode: int) -> bool:
        """Whether an earlier transfer has brought the same; what else has the name is removed."""
        if not self._reuses or os.path.dirname(entry.path) in self._new:
            return False
        try:
            found = os.stat(entry.path, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(mode) and stat.S_ISDIR(found.st_mode):
            return True  # its attributes are set in the end, whatever they were
        attributes = (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns)
        same = attributes == (mode, entry.uid, entry.gid, entry.mtime_ns) and found.st_nlink == 1
        if same and stat.S_ISREG(mode):
            same = found.st_size == entry.size and not entry.xattrs
        elif same and stat.S_ISLNK(mode):
            same = os.readlink(entry.path, dir_fd=self._root) == entry.link
        if not same:
            self._make_room(entry.path)
        return same

    def _make(self, entry: Stat, mode: int, identifier: int, answers: list[Packet]) -> None:
        if stat.S_ISDIR(mode):
            os.mkdir(entry.path, 0o700, dir_fd=self._root)
            self._new.add(entry.path)
        elif stat.S_ISLNK(mode):
            if not entry.link or "\0" in entry.link or len(entry.link.encode()) >= _PATH_MAX:
                raise BadTree(f"invalid target of the symlink {entry.path!r} in the build context")
            os.symlink(entry.link, entry.path, dir_fd=self._root)
            self._owner_and_time(entry)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(entry.path, 0o600, dir_fd=self._root)
            os.chmod(entry.path, stat.S_IMODE(mode), dir_fd=self._root)
            self._owner_and_time(entry)
        elif entry.size:
            self._arriving[identifier] = _Arriving(entry)
            answers.append(Packet(type=REQUEST, id=identifier))
        else:
            arriving = _Arriving(entry)
            self._open(arriving)
            self._close(arriving)

    def _make_room(self, path: str) -> None:
        """Remove what has the name of something that will be made."""
        if not self._reuses:
            return
        try:
            os.unlink(path, dir_fd=self._root)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            shutil.rmtree(path, dir_fd=self._root)

    def _remove_others(self, path: str) -> None:
        """Remove what the client no longer has from a directory that it has."""
        names = self._names.get(path, set())
        fd = os.open(path or ".", _DIRECTORY, dir_fd=self._root)
        try:
            with os.scandir(fd) as found:
                others = [entry for entry in found if entry.name not in names]
            for entry in others:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.name, dir_fd=fd)
                else:
                    os.unlink(entry.name, dir_fd=fd)
        finally:
            os.close(fd)

    def _check(self, path: str, parent: str, name: str) -> None:
        parts = path.split("/")
        if not name or "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise BadTree(f"invalid path {path!r} in the build context")
        if len(path.encode()) >= _PATH_MAX or len(name.encode()) > _NAME_MAX:
            raise BadTree(f"{path[:64]!r}... in the build context is too long a name")
        if parent not in self._parents:
            raise BadTree(f"{path!r} comes before its directory")
        if parts <= self._last:
            raise BadTree(f"{path!r} is out of order")
        self._last = parts

    def _data(self, packet: Packet) -> None:
        arriving = self._arriving.get(packet.id)
        if arriving is None:
            raise BadTree(f"data of file {packet.id}, which was not asked for")
        if arriving.fd < 0:
            self._open(arriving)
        if not packet.data:
            del self._arriving[packet.id]
            self._close(arriving)
            return
        self.received_bytes += len(packet.data)
        view = memoryview(packet.data)
        while view:
            view = view[os.write(arriving.fd, view) :]

    def _open(self, arriving: _Arriving) -> None:
        arriving.fd = os.open(arriving.stat.path, _CREATE, 0o600, dir_fd=self._root)

    def _close(self, arriving: _Arriving) -> None:
        entry, fd = arriving.stat, arriving.fd
        try:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, stat.S_IMODE(from_go(entry.mode)))
            _set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            arriving.fd = -1
            os.close(fd)

    def _owner_and_time(self, entry: Stat) -> None:
        os.chown(entry.path, entry.uid, entry.gid, dir_fd=self._root, follow_symlinks=False)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(entry.path, ns=times, dir_fd=self._root, follow_symlinks=False)

    def _finish(self) -> None:
        """Hard links wait for their files, and directories' times for all that is written below them."""
        if self._reuses:
            for directory in self._parents - self._new:
                self._remove_others(directory)
        for link in self._links:
            os.link(link.link, link.path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
        for entry in reversed(self._directories):
            fd = os.open(entry.path, _DIRECTORY, dir_fd=self._root)
            try:
                os.fchown(fd, entry.uid, entry.gid)
                os.fchmod(fd, stat.S_IMODE(from_go(entry.mode)))
                _set_xattrs(fd, entry)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(fd)

    def close(self) -> None:
        """Close all files."""
        for arriving in self._arriving.values():
            if arriving.fd >= 0:
                os.close(arriving.fd)
        self._arriving.clear()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


def _set_xattrs(fd: int, entry: Stat) -> None:
    if entry.xattrs:
        attributes = {name.encode(): value for name, value in entry.xattrs.items() if is_portable(name)}
        set_portable(fd, attributes)
