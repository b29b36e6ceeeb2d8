"""A tree of files that a client sends, written below a directory: no I/O but to the disk.

The directory may hold what an earlier transfer has brought, of which an index is kept. A file that has all
attributes which the client names is taken for unchanged, as rsync does it, and not asked for; what the
client no longer has is removed. Files are never written to again, only replaced: layers may share them by
hard links. As each entry comes below a directory that came before it, no symlink of the client's is followed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field

from corten.builder.treeindex import Attributes, Known, TreeIndex
from corten.buildkit.transfer import Transfer
from corten.linux.files import write_all
from corten.snapshots.xattrs import get_portable, is_portable, set_portable

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_CONTENT = hashlib.sha256().digest()


@dataclass(slots=True)
class _Arriving:
    """A file whose content is under way; opened at its first piece, so that few are open at once."""

    path: str
    attributes: Attributes
    fd: int = -1
    content: hashlib._Hash = field(default_factory=hashlib.sha256)


class ReceivedTree(Transfer):
    """See Transfer; `feed` blocks."""

    def __init__(self, directory: str, index: str = "") -> None:
        """index: a file that knows what is in the directory; "" = the directory is empty, and none is kept.

        A transfer that ends early leaves no index: then the directory is of no use any more.
        """
        super().__init__(TreeIndex.load(index).files if index else None)
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._index_path = index
        if self._before:
            os.unlink(index)
        self._changed: set[str] = set()  # directories in which something has changed
        self._arriving: dict[int, _Arriving] = {}
        self._links: list[str] = []

    # -- the list -------------------------------------------------------------------------------

    def _take(self, path: str, attributes: Attributes, known: Known | None, identifier: int) -> None:
        mode, link = attributes[0], attributes[5]
        is_file = stat.S_ISREG(mode)
        if known is not None and known[0] == attributes and not (is_file and link):
            self._files[path] = known
            return
        self._changed.add(path.rpartition("/")[0])
        if stat.S_ISDIR(mode):
            self._directory(path, attributes, known)
            return
        if known is not None:
            self._remove(path, known[0][0])
        if is_file:
            self._file(path, attributes, identifier)
            return
        self._special(path, attributes)
        self._files[path] = (attributes, b"")

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
            os.symlink(link, path, dir_fd=self._root)
        else:
            os.mkfifo(path, 0o600, dir_fd=self._root)
            os.chmod(path, stat.S_IMODE(mode), dir_fd=self._root)
        os.chown(path, uid, gid, dir_fd=self._root, follow_symlinks=False)
        os.utime(path, ns=(mtime_ns, mtime_ns), dir_fd=self._root, follow_symlinks=False)

    def _file(self, path: str, attributes: Attributes, identifier: int) -> None:
        size, link = attributes[3], attributes[5]
        self._files[path] = (attributes, _NO_CONTENT)
        if link:
            self._links.append(path)
            return
        arriving = _Arriving(path, attributes)
        if size:
            self._arriving[identifier] = arriving
            self._ask(identifier)
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

    def _content(self, identifier: int, data: bytes) -> None:
        arriving = self._arriving[identifier]
        if arriving.fd < 0:
            self._open(arriving)
        if not data:
            del self._arriving[identifier]
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
            self._files[""] = ((stat.S_IFDIR, 0, 0, 0, 0, "", ()), self._before.get("", (None, b""))[1])
            index = TreeIndex(self._files)
            index.digest_directories(self._changed or ([] if self._before else [""]))
            index.save(self._index_path)

    def _remove_others(self) -> None:
        """Remove what the client no longer has."""
        for path in self._before.keys() - self._files.keys() - {""}:
            parent = path.rpartition("/")[0]
            if not parent or self._is_directory(parent):  # else it goes with its directory
                self._changed.add(parent)
                self._remove(path, self._before[path][0][0])

    def close(self) -> None:
        """Close all files."""
        for arriving in self._arriving.values():
            if arriving.fd >= 0:
                os.close(arriving.fd)
        self._arriving.clear()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


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
