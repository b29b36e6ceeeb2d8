"""Unpacking archives of hostile origin below a directory.

Every name is resolved by the kernel inside the target (openat2, RESOLVE_IN_ROOT, magic links refused)
and the last component is created with O_EXCL and never followed, so that neither `..`, nor absolute
names, nor symlinks made by the archive or by a running container lead out. No path is used as a string.

An entry that exists is replaced, except that a directory stays one. Owners, modes with setuid bits,
times and extended attributes are those of the archive.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from corten.linux.deletion import delete_tree
from corten.linux.files import pwrite_all, write_all
from corten.linux.openat2 import make_dirs_in_root, open_in_root
from corten.snapshots import xattrs
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

WHITEOUT = b".wh."
WHITEOUT_META = b".wh..wh."
WHITEOUT_OPAQUE = b".wh..wh..opq"

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIR = os.O_RDONLY | os.O_DIRECTORY
_PARENTS_KEPT_OPEN = 200
_NODE = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """How to unpack.

    whiteouts: `.wh.` names mean what they mean in image layers and become overlayfs' forms.
    owner: give everything to this (uid, gid) instead of the archive's owners.
    keep_types: refuse to replace a directory by something else or the other way round
    (Docker's noOverwriteDirNonDir).
    keep_target: the directory itself stays as it is, whatever the archive says of it.
    below: unpack into this directory, whose links and those of the archive may lead anywhere in the root.
    """

    whiteouts: bool = False
    owner: tuple[int, int] | None = None
    keep_types: bool = False
    keep_target: bool = False
    below: bytes = b""


@dataclass(slots=True)
class Extracted:
    """What was unpacked: number of entries, bytes of file content."""

    entries: int = 0
    size: int = 0


class Extractor:
    """Unpacks tar streams below the directory that `rootfd` is open on. Used by one thread; closes its fds.

    with Extractor(rootfd) as e: e.extract(TarReader(chunks))
    """

    def __init__(self, rootfd: int, options: ExtractOptions | None = None) -> None:
        self._root = os.dup(rootfd)
        self._options = options or ExtractOptions()
        self._parents: dict[bytes, int] = {}
        self._directory_times: dict[bytes, tuple[int, int]] = {}
        self._made: dict[bytes, Callable[[TarEntry, int, bytes], None]] = {
            DIRECTORY: self._directory,
            SYMLINK: self._symlink,
            HARD_LINK: self._hard_link,
            CHARACTER: self._node,
            BLOCK_DEVICE: self._node,
            FIFO: self._node,
        }
        self.done = Extracted()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._forget_parents()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def extract(self, reader: TarReader) -> Extracted:
        """Unpack everything. Raises BadArchive, and OSError as the kernel gives it (ENOSPC, ...)."""
        try:
            for entry in reader:
                self.add(entry, reader)
            self._set_directory_times()
        except OSError as e:
            raise _explained(e) from e
        return self.done

    def add(self, entry: TarEntry, reader: TarReader) -> None:
        """Unpack one entry, whose content the reader is about to give."""
        self.done.entries += 1
        if len(self._parents) >= _PARENTS_KEPT_OPEN:
            self._forget_parents()  # here, because none is in use
        name = self._placed(normalized_name(entry.name))
        if name == self._options.below:
            if entry.is_dir and not self._options.keep_target:
                self._set_attributes_of_target(entry)
            return
        directory, _, base = name.rpartition(b"/")
        if self._options.whiteouts and WHITEOUT in name:
            if directory.startswith(WHITEOUT_META) or b"/" + WHITEOUT_META in directory:
                return  # below AUFS' own directories
            if base.startswith(WHITEOUT):
                self._whiteout(directory, base)
                return
        parent = self._parent(directory)
        if entry.type == REGULAR:
            self._regular(entry, parent, base, reader)
            return
        make = self._made.get(entry.type)
        if make is None:
            raise BadArchive(f"unhandled tar header type {entry.type[0]}")
        make(entry, parent, base)
        if entry.is_dir:
            inode = os.stat(base, dir_fd=parent, follow_symlinks=False).st_ino
            self._directory_times[name] = (inode, entry.mtime_ns)

    def _placed(self, name: bytes) -> bytes:
        """A name of the archive as one of the root."""
        below = self._options.below
        return b"/".join(part for part in (below, name) if part) if below else name

    # -- kinds ----------------------------------------------------------------------------------

    def _regular(self, entry: TarEntry, parent: int, base: bytes, reader: TarReader) -> None:
        try:
            fd = os.open(base, _CREATE, 0o600, dir_fd=parent)
        except FileExistsError:
            self._make_room(entry, parent, base)
            fd = os.open(base, _CREATE, 0o600, dir_fd=parent)
        try:
            if entry.sparse is not None:
                _write_sparse(fd, entry, reader)
            elif entry.size:
                for piece in reader.content():
                    write_all(fd, piece)
            uid, gid = self._owner(entry)
            os.fchown(fd, uid, gid)
            os.fchmod(fd, entry.mode)  # after chown, which clears setuid bits
            if entry.xattrs:
                xattrs.set_portable(fd, entry.xattrs)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        self.done.size += entry.size

    def _directory(self, entry: TarEntry, parent: int, base: bytes) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            existing = os.stat(base, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(existing.st_mode):
                was_whiteout = stat.S_ISCHR(existing.st_mode) and existing.st_rdev == 0
                self._make_room(entry, parent, base)
                os.mkdir(base, 0o700, dir_fd=parent)
                if was_whiteout and self._options.whiteouts:
                    os.setxattr(_proc_path(parent, base), xattrs.OPAQUE, b"y", follow_symlinks=False)
        uid, gid = self._owner(entry)
        os.chown(base, uid, gid, dir_fd=parent, follow_symlinks=False)
        fd = os.open(base, _DIR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                xattrs.set_portable(fd, entry.xattrs)
        finally:
            os.close(fd)

    def _symlink(self, entry: TarEntry, parent: int, base: bytes) -> None:
        try:
            os.symlink(entry.linkname, base, dir_fd=parent)
        except FileExistsError:
            self._make_room(entry, parent, base)
            os.symlink(entry.linkname, base, dir_fd=parent)
        self._set_attributes(entry, parent, base)

    def _hard_link(self, entry: TarEntry, parent: int, base: bytes) -> None:
        target = normalized_name(entry.linkname)
        directory, _, target_base = self._placed(target).rpartition(b"/")
        if not target:
            raise BadArchive("invalid hard link in archive: it names the root")
        source = self._parent(directory, create=False)
        try:
            os.link(target_base, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            if _same_file(source, target_base, parent, base):
                return
            self._make_room(entry, parent, base)
            source = self._parent(directory, create=False)  # making room may have closed it
            os.link(target_base, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    def _node(self, entry: TarEntry, parent: int, base: bytes) -> None:
        mode = _NODE[entry.type] | 0o600
        device = os.makedev(entry.major, entry.minor) if entry.type != FIFO else 0
        if entry.type == CHARACTER and not device and not self._options.whiteouts:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), base)  # overlayfs' deletion mark
        try:
            os.mknod(base, mode, device, dir_fd=parent)
        except FileExistsError:
            self._make_room(entry, parent, base)
            os.mknod(base, mode, device, dir_fd=parent)
        self._set_attributes(entry, parent, base)

    def _whiteout(self, directory: bytes, base: bytes) -> None:
        """A deletion of the layers below: char device 0:0, or the opaque mark on the directory."""
        parent = self._parent(directory)
        if base == WHITEOUT_OPAQUE:
            os.setxattr(parent, xattrs.OPAQUE, b"y")
            return
        if base.startswith(WHITEOUT_META):
            return
        victim = base[len(WHITEOUT) :]
        if victim in (b"", b".", b".."):
            raise BadArchive("invalid whiteout name in layer")
        try:
            os.mknod(victim, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            # The layer brings this name itself. A whiteout hides the layers below only, which a
            # directory has to be told.
            existing = os.stat(victim, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(existing.st_mode):
                os.setxattr(_proc_path(parent, victim), xattrs.OPAQUE, b"y", follow_symlinks=False)

    # -- attributes -----------------------------------------------------------------------------

    def _owner(self, entry: TarEntry) -> tuple[int, int]:
        return self._options.owner or (entry.uid, entry.gid)

    def _set_attributes(self, entry: TarEntry, parent: int, base: bytes) -> None:
        uid, gid = self._owner(entry)
        os.chown(base, uid, gid, dir_fd=parent, follow_symlinks=False)
        path = _proc_path(parent, base)
        if entry.type != SYMLINK:
            # Just made and nobody else's: what fchmodat(2) without AT_SYMLINK_NOFOLLOW would follow
            # cannot be a link, except in a directory that a container writes to at the same time.
            fd = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                if stat.S_ISLNK(os.fstat(fd).st_mode):
                    raise BadArchive("archive target changed while it was unpacked")
                os.chmod(f"/proc/self/fd/{fd}", entry.mode)
            finally:
                os.close(fd)
        if entry.xattrs:
            xattrs.set_portable(path, entry.xattrs)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _set_attributes_of_target(self, entry: TarEntry) -> None:
        below = self._options.below
        fd = os.open(".", _DIR | os.O_CLOEXEC, dir_fd=self._parent(below))
        try:
            uid, gid = self._owner(entry)
            os.fchown(fd, uid, gid)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                xattrs.set_portable(fd, entry.xattrs)
            self._directory_times[below] = (os.fstat(fd).st_ino, entry.mtime_ns)
        finally:
            os.close(fd)

    def _set_directory_times(self) -> None:
        # Children first: making them changed their parents' times.
        for name in sorted(self._directory_times, reverse=True):
            inode, mtime_ns = self._directory_times[name]
            if not name:
                os.utime(self._root, ns=(mtime_ns, mtime_ns))
                continue
            directory, _, base = name.rpartition(b"/")
            try:
                parent = self._parent(directory, create=False)
                existing = os.stat(base, dir_fd=parent, follow_symlinks=False)
            except OSError as e:
                if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # a later entry replaced it, or what led to it
                raise
            if existing.st_ino == inode:
                os.utime(base, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)

    # -- directories ----------------------------------------------------------------------------

    def _parent(self, directory: bytes, *, create: bool = True) -> int:
        """An fd of `directory`, symlinks followed inside the root; kept open for the next entries."""
        if not directory:
            return self._root
        fd = self._parents.get(directory)
        if fd is not None:
            return fd
        try:
            fd = open_in_root(self._root, directory, _DIR)
        except FileNotFoundError:
            if not create:
                raise
            os.close(make_dirs_in_root(self._root, os.fsdecode(directory)))
            fd = open_in_root(self._root, directory, _DIR)
        self._parents[directory] = fd
        return fd

    def _forget_parents(self) -> None:
        for fd in self._parents.values():
            os.close(fd)
        self._parents.clear()

    def _make_room(self, entry: TarEntry, parent: int, base: bytes) -> None:
        """Remove what stands where `entry` goes. Raises BadArchive where `keep_types` forbids it."""
        existing = os.stat(base, dir_fd=parent, follow_symlinks=False)
        is_dir = stat.S_ISDIR(existing.st_mode)
        if self._options.keep_types and is_dir != entry.is_dir:
            name = os.fsdecode(normalized_name(entry.name))
            path = os.fsdecode(self._placed(normalized_name(entry.name)))
            if is_dir:
                raise BadArchive(f'cannot overwrite directory "/{path}" with non-directory "{name}"')
            raise BadArchive(f'cannot overwrite non-directory "/{path}" with directory "{name}"')
        if is_dir:
            delete_tree(_proc_path(parent, base))
        else:
            os.unlink(base, dir_fd=parent)
        # Cached parents may have led through what is gone; the one in use stays open under its number.
        for directory, fd in list(self._parents.items()):
            if fd != parent:
                os.close(self._parents.pop(directory))


def _write_sparse(fd: int, entry: TarEntry, reader: TarReader) -> None:
    segments = iter(entry.sparse or ())
    offset = left = 0
    for piece in reader.content():
        while piece:
            while not left:
                offset, left = next(segments)
            count = min(left, len(piece))
            pwrite_all(fd, piece[:count], offset)
            piece = piece[count:]
            offset += count
            left -= count
    os.ftruncate(fd, entry.size)


def _same_file(parent_a: int, a: bytes, parent_b: int, b: bytes) -> bool:
    return os.path.samestat(
        os.stat(a, dir_fd=parent_a, follow_symlinks=False), os.stat(b, dir_fd=parent_b, follow_symlinks=False)
    )


def _proc_path(parent: int, base: bytes) -> str:
    """A path for calls that take no dir_fd; the last component must not be followed by them."""
    return f"/proc/self/fd/{parent}/{os.fsdecode(base)}"


def _explained(error: OSError) -> OSError:
    """The error with the archive's name of the file at most, never a path of this machine."""
    name = error.filename
    shown = os.fsdecode(name) if isinstance(name, bytes) else name
    if isinstance(shown, str) and shown.startswith("/proc/self/fd/"):
        shown = shown.rpartition("/")[2]
    return OSError(error.errno, error.strerror, shown)
