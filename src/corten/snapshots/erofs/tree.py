"""From a tar's entries to a tree in memory, as `Extractor` would make it on a disk.

The rules are the same, and so are the errors: parents are looked up as the kernel does below a root
(symlinks followed, `..` stays inside, ELOOP), what is there is replaced except that a directory stays one,
whiteouts become character devices 0:0 and overlayfs' opaque mark.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass
from typing import NoReturn

from corten.snapshots import xattrs
from corten.snapshots.errors import BadArchive
from corten.snapshots.extract import WHITEOUT, WHITEOUT_META, WHITEOUT_OPAQUE
from corten.snapshots.tar_reader import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    TarEntry,
    normalized_name,
)

_KINDS = {
    REGULAR: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
    CHARACTER: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
    DIRECTORY: stat.S_IFDIR,
}
_NAME_MAX = 255
_PATH_MAX = 4096
_LINKS_MAX = 40
_PARENTS_KEPT = 200
_XATTR_MAX = 65535
_CAPABILITY_SIZES = (12, 20, 24)  # struct vfs_cap_data, revisions 1 to 3
_OPAQUE = os.fsencode(xattrs.OPAQUE)


class Node:
    """A file of the tree. `children` is None for all but directories.

    offset, sparse: where in the tar the content begins, and its pieces if it is sparse.
    """

    __slots__ = (
        "children", "gid", "mode", "mtime_ns", "offset", "place",
        "rdev", "size", "sparse", "target", "uid", "xattrs",
    )  # fmt: skip

    def __init__(self, mode: int, *, uid: int = 0, gid: int = 0, mtime_ns: int = 0) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.size = 0
        self.offset = 0
        self.rdev = 0
        self.target = b""
        self.sparse: list[tuple[int, int]] | None = None
        self.xattrs: dict[bytes, bytes] | None = None
        self.children: dict[bytes, Node] | None = {} if stat.S_ISDIR(mode) else None
        self.place = -1  # the layout's

    @property
    def is_whiteout(self) -> bool:
        """Whether overlayfs sees a deletion in it."""
        return stat.S_ISCHR(self.mode) and self.rdev == 0


@dataclass(slots=True)
class Counted:
    """What was read: number of entries, bytes of file content."""

    entries: int = 0
    size: int = 0


class Tree:
    """The tree of one layer; `add` its entries in order."""

    def __init__(self) -> None:
        self._now_ns = time.time_ns()
        self.root = self._new_directory()
        self.done = Counted()
        self._parents: dict[bytes, Node] = {}

    def _new_directory(self) -> Node:
        return Node(stat.S_IFDIR | 0o755, mtime_ns=self._now_ns)

    def add(self, entry: TarEntry, offset: int) -> None:
        """Take in an entry whose content begins at `offset` of the tar. Raises BadArchive, OSError."""
        self.done.entries += 1
        if len(self._parents) >= _PARENTS_KEPT:
            self._parents.clear()
        name = normalized_name(entry.name)
        if not name:
            if entry.is_dir:
                self._set_attributes(self.root, entry)
            return
        directory, _, base = name.rpartition(b"/")
        if WHITEOUT in name:
            if directory.startswith(WHITEOUT_META) or b"/" + WHITEOUT_META in directory:
                return
            if base.startswith(WHITEOUT):
                self._whiteout(directory, base)
                return
        if entry.type not in _KINDS and entry.type != HARD_LINK:
            self._parent(directory)
            raise BadArchive(f"unhandled tar header type {entry.type[0]}")
        siblings = self._children(directory)
        _check_name(base)
        if entry.type == HARD_LINK:
            self._hard_link(entry, directory, siblings, base)
        elif entry.is_dir:
            self._directory(entry, directory, siblings, base)
        else:
            node = self._file(entry, offset)
            self._make_room(directory, siblings, base)
            siblings[base] = node

    def _file(self, entry: TarEntry, offset: int) -> Node:
        node = Node(_KINDS[entry.type])
        if entry.type == REGULAR:
            node.size, node.offset, node.sparse = entry.size, offset, entry.sparse
            self.done.size += entry.size
        elif entry.type == SYMLINK:
            if not entry.linkname:
                _fail(errno.ENOENT, entry.name)
            if len(entry.linkname) >= _PATH_MAX:
                _fail(errno.ENAMETOOLONG, entry.name)
            if b"\0" in entry.linkname:
                raise BadArchive("invalid symbolic link in archive")
            node.target, node.size = entry.linkname, len(entry.linkname)
        elif entry.type != FIFO:
            node.rdev = os.makedev(entry.major, entry.minor)
        self._set_attributes(node, entry)
        return node

    def _directory(self, entry: TarEntry, directory: bytes, siblings: dict[bytes, Node], base: bytes) -> None:
        node = siblings.get(base)
        if node is None or node.children is None:
            opaque = node is not None and node.is_whiteout
            if node is not None:
                self._make_room(directory, siblings, base)
            node = siblings[base] = self._new_directory()
            if opaque:
                node.xattrs = {_OPAQUE: b"y"}
        self._set_attributes(node, entry)

    def _hard_link(self, entry: TarEntry, directory: bytes, siblings: dict[bytes, Node], base: bytes) -> None:
        target = normalized_name(entry.linkname)
        if not target:
            raise BadArchive("invalid hard link in archive: it names the root")
        node = self._link_target(target)
        if base in siblings:
            if siblings[base] is node:
                return
            self._make_room(directory, siblings, base)
            node = self._link_target(target)
        if node.children is not None:
            _fail(errno.EPERM, entry.name)
        siblings[base] = node

    def _link_target(self, target: bytes) -> Node:
        directory, _, base = target.rpartition(b"/")
        _check_name(base)
        node = self._children(directory, create=False).get(base)
        if node is None:
            _fail(errno.ENOENT, target)
        return node

    def _whiteout(self, directory: bytes, base: bytes) -> None:
        parent = self._parent(directory)
        if base == WHITEOUT_OPAQUE:
            parent.xattrs = {**(parent.xattrs or {}), _OPAQUE: b"y"}
            return
        if base.startswith(WHITEOUT_META):
            return
        victim = base[len(WHITEOUT) :]
        if victim in (b"", b".", b".."):
            raise BadArchive("invalid whiteout name in layer")
        assert parent.children is not None
        existing = parent.children.get(victim)
        if existing is None:
            parent.children[victim] = Node(stat.S_IFCHR, mtime_ns=self._now_ns)
        elif existing.children is not None:
            existing.xattrs = {**(existing.xattrs or {}), _OPAQUE: b"y"}

    def _set_attributes(self, node: Node, entry: TarEntry) -> None:
        permissions = 0o777 if stat.S_ISLNK(node.mode) else entry.mode
        node.mode = stat.S_IFMT(node.mode) | permissions
        node.uid, node.gid, node.mtime_ns = entry.uid, entry.gid, entry.mtime_ns
        for name, value in entry.xattrs.items():
            if xattrs.is_portable(os.fsdecode(name)) and _settable(node, name, value):
                node.xattrs = {**(node.xattrs or {}), name: value}

    def _make_room(self, directory: bytes, siblings: dict[bytes, Node], base: bytes) -> None:
        """Remove what stands where something is to go; paths that were looked up may have led through it."""
        if siblings.pop(base, None) is not None:
            kept = self._parents.get(directory)
            self._parents.clear()
            if kept is not None:
                self._parents[directory] = kept

    # -- directories ----------------------------------------------------------------------------

    def _children(self, directory: bytes, *, create: bool = True) -> dict[bytes, Node]:
        children = self._parent(directory, create=create).children
        assert children is not None
        return children

    def _parent(self, directory: bytes, *, create: bool = True) -> Node:
        if not directory:
            return self.root
        node = self._parents.get(directory)
        if node is None:
            if len(directory) >= _PATH_MAX:
                _fail(errno.ENAMETOOLONG, directory)
            node = self._look_up(directory)
            if node is None:
                if not create:
                    _fail(errno.ENOENT, directory)
                node = self._make_directories(directory)
            self._parents[directory] = node
        return node

    def _look_up(self, path: bytes) -> Node | None:
        """The directory at `path`, as a process chrooted here would open it; None if it is not there."""
        pending = path.split(b"/")[::-1]
        where = [self.root]
        links = 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if len(where) > 1:
                    where.pop()
                continue
            _check_name(part)
            children = where[-1].children
            assert children is not None
            node = children.get(part)
            if node is None:
                return None
            if stat.S_ISLNK(node.mode):
                links += 1
                if links > _LINKS_MAX:
                    _fail(errno.ELOOP, path)
                if node.target.startswith(b"/"):
                    where = [self.root]
                pending.extend(node.target.split(b"/")[::-1])
            elif node.children is None:
                _fail(errno.ENOTDIR, path)
            else:
                where.append(node)
        return where[-1]

    def _make_directories(self, path: bytes) -> Node:
        current, walked = self.root, b""
        for part in path.split(b"/"):
            walked = walked + b"/" + part
            child = self._look_up(walked)
            if child is None:
                assert current.children is not None
                if part in current.children:  # a dangling symlink
                    _fail(errno.ENOENT, path)
                child = current.children[part] = self._new_directory()
            current = child
        return current


def _settable(node: Node, name: bytes, value: bytes) -> bool:
    """Whether a disk's file system would take the attribute. Raises OSError where it would refuse."""
    plain = stat.S_ISREG(node.mode) or stat.S_ISDIR(node.mode)
    if name.startswith(b"system.") and stat.S_ISLNK(node.mode):
        return False
    if name.startswith(b"user.") and not plain:
        _fail(errno.EPERM, name)
    if name == b"security.capability" and len(value) not in _CAPABILITY_SIZES:
        _fail(errno.EINVAL, name)
    if len(name) > _NAME_MAX or name.endswith(b".") or b"\0" in name:
        _fail(errno.ERANGE, name)
    if len(value) > _XATTR_MAX:
        _fail(errno.E2BIG, name)
    return True


def _check_name(name: bytes) -> None:
    if len(name) > _NAME_MAX:
        _fail(errno.ENAMETOOLONG, name)


def _fail(number: int, name: bytes) -> NoReturn:
    raise OSError(number, os.strerror(number), os.fsdecode(name[-_NAME_MAX:]))
