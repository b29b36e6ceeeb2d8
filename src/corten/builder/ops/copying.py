"""COPY and ADD, from one root into another, with Docker's rules of what lands where.

    source      destination          result
    file        /dst/                /dst/file
    file        /dst  (a directory)  /dst/file
    file        /dst  (else)         /dst
    directory   /dst or /dst/        what is in it, below /dst
    archive     /dst or /dst/        with `unpack`: its content, below /dst

Parents of the destination are made (0755, owned as --chown says), and so is the directory that what is in the
copied one goes to: of the source it gets only the times. One that exists below gets the source's attributes.
What comes out of an archive has the archive's owners and modes, whatever --chown and --chmod say.
Paths of either side are resolved by the kernel inside their roots, also a link that is the destination; links
that stand where something below it goes are replaced.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from corten.builder.ignore import IgnoreMatcher
from corten.builder.ops.glob import find_sources
from corten.builder.ops.linking import Linker, OnTree
from corten.builder.ops.mode import ChangeMode
from corten.builder.ops.target import Target
from corten.builder.ops.tree import Entry, children, open_above_link, open_directory
from corten.builder.patterns import has_wildcards, unescaped
from corten.errors import InvalidParameter
from corten.linux.files import copy_content, read_pieces
from corten.linux.openat2 import open_file_in_root, open_in_root, resolve_in_root
from corten.snapshots.decompress import decompressed
from corten.snapshots.errors import BadArchive
from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.tar_reader import BLOCK, TarReader, is_header
from corten.snapshots.xattrs import get_portable, set_portable

_LARGE = 1 << 20  # a single file that is rather linked than copied
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIR = os.O_RDONLY | os.O_DIRECTORY
_MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)
_LINKS_KEPT = 4096  # beyond that, a file with several names is copied as several files


class SourceNotFound(InvalidParameter):
    """A source of a copy does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How to copy: see `graph.CopyAction`. `owner` None keeps owners; `mode` None keeps modes."""

    owner: tuple[int, int] | None = None
    mode: ChangeMode | None = None
    unpack: bool = False
    parents: bool = False
    exclude: IgnoreMatcher = field(default_factory=lambda: IgnoreMatcher(()))
    contents: bool = True
    follow: bool = True
    may_find_nothing: bool = False
    needs_slash: bool = False
    time_ns: int | None = None

    @property
    def keeps_files(self) -> bool:
        """Whether a file is the same in every respect after the copy."""
        return self.owner is None and self.mode is None and self.time_ns is None


def copy_sources(
    source_root: int,
    patterns: list[str],
    target: Target,
    destination: str,
    options: CopyOptions,
    *,
    linkable: bool = False,
    on_tree: OnTree | None = None,
) -> bool:
    """Copy all that the patterns find to `destination` (absolute; with a slash at the end a directory).

    linkable: the source's files may be shared (see `linking`). on_tree: told of what is to be shared, before
    it is, if that is all and one tree. Returns whether it could be.

    Raises SourceNotFound, InvalidParameter, BadArchive, and OSError as the kernel gives it.
    """
    found = [match for pattern in patterns for match in _found(source_root, pattern, options)]
    if options.needs_slash and len(found) > 1 and not destination.endswith("/"):
        raise InvalidParameter(
            "When using COPY with more than one source file, "
            "the destination must be a directory and end with a /"
        )
    single = len(found) == 1
    copier = _Copier(source_root, target, options, linkable=linkable, on_tree=on_tree if single else None)
    for path, kept in found:
        if not options.follow and (above := open_above_link(source_root, path)) is not None:
            copier.copy_link(above, path, destination, kept)
            os.close(above)
            continue
        source = open_file_in_root(source_root, path or ".")
        try:
            copier.copy_source(source, path, destination, kept)
        finally:
            os.close(source)
        copier.end_source()
    return single and copier.linked


def _found(root: int, pattern: str, options: CopyOptions) -> list[tuple[str, str]]:
    """(path, the directories to be repeated below the destination) of all matches."""
    before, pivot, after = pattern.partition("/./")
    paths = find_sources(root, pattern, double_star=options.parents, follow=options.follow)
    if not paths:
        name = unescaped(pattern.lstrip("/")) or "."
        if has_wildcards(pattern) and options.may_find_nothing:
            return []
        if has_wildcards(pattern):
            raise SourceNotFound("no source files were specified")
        raise SourceNotFound(
            f"file not found in build context or excluded by .dockerignore: stat {name}: file does not exist"
        )
    if not options.parents:
        return [(path, "") for path in paths]
    skipped = len([part for part in before.split("/") if part]) if pivot and after else 0
    return [(path, "/".join(path.split("/")[skipped:-1])) for path in paths]


def make_directory(
    root: int, path: str, owner: tuple[int, int] | None, mode: int = 0o755, *, _links: int = 0
) -> int:
    """mkdir -p inside `root`; an fd of the last one. New directories belong to `owner` (None: root).

    A dangling symlink on the way is followed too: what it names is made, inside `root`.
    """
    if _links > _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    current = os.open(".", _DIR | os.O_CLOEXEC, dir_fd=root)
    walked = ""
    for name in [part for part in path.split("/") if part not in ("", ".")]:
        above, walked = walked, f"{walked}/{name}"
        try:
            child = open_in_root(root, walked, _DIR)
        except FileNotFoundError:
            try:
                os.mkdir(name, mode, dir_fd=current)
            except FileExistsError:
                target = os.path.join(above or "/", os.readlink(name, dir_fd=current))
                child = make_directory(root, target, owner, mode, _links=_links + 1)
            else:
                child = open_directory(current, name)
                os.fchmod(child, mode)
                if owner is not None:
                    os.fchown(child, *owner)
        os.close(current)
        current = child
    return current


class _Copier:
    def __init__(
        self, source: int, target: Target, options: CopyOptions, *, linkable: bool, on_tree: OnTree | None
    ) -> None:
        self._target = target
        self._options = options
        self._links: dict[tuple[int, int], int] = {}  # (device, inode) -> fd of what was made of it
        self._linker: Linker | None = None
        if linkable and options.keeps_files and not options.exclude:
            self._linker = Linker(source, target, self._copy_entry, self._attributes)
            self._linker.on_tree = on_tree

    @property
    def _root(self) -> int:
        return self._target.root

    @property
    def linked(self) -> bool:
        """Whether all is links, of one tree."""
        return self._linker is not None and self._linker.whole is not None

    def end_source(self) -> None:
        """Make the links that were put off: the next source may want the same names.

        What both have by hard links is two files of the copy, as with BuildKit.
        """
        for fd in self._links.values():
            os.close(fd)
        self._links.clear()
        if self._linker is not None:
            self._linker.link()

    def copy_link(self, parent: int, path: str, destination: str, kept: str) -> None:
        """A symlink, in the directory `parent`, as such."""
        name = path.rpartition("/")[2]
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        directory, made = self._place(name, destination, kept)
        target = make_directory(self._root, directory, self._options.owner)
        try:
            self._copy_special(status, target, made, os.readlink(name, dir_fd=parent))
        finally:
            os.close(target)

    def _place(self, name: str, destination: str, kept: str) -> tuple[str, str]:
        """Where what is no directory goes: the directory, and its name there.

        A link that is named as the destination is followed, one that is found in it is replaced.
        """
        if destination.endswith("/") or self._options.parents or self._is_directory(destination):
            return (f"{destination}/{kept}" if kept else destination), name
        directory, _, made = resolve_in_root(self._root, destination).rpartition("/")
        return directory, made

    def copy_source(self, source: int, path: str, destination: str, kept: str) -> None:
        """One source, open as `source`; `kept` is repeated below the destination (--parents)."""
        status = os.fstat(source)
        name = path.rpartition("/")[2]
        base = f"{destination}/{kept}" if kept else destination
        if stat.S_ISDIR(status.st_mode):
            itself = self._options.parents or (not self._options.contents and self._is_directory(base))
            if name and itself:
                base = f"{base}/{name}"
            self._copy_directory_source(source, status, base)
            return
        if self._options.unpack and stat.S_ISREG(status.st_mode) and self._unpacked(source, destination):
            return
        if self._options.exclude.ignores(name):
            return
        directory, name = self._place(name, destination, kept)
        parent = make_directory(self._root, directory, self._options.owner)
        try:
            if not stat.S_ISREG(status.st_mode):
                self._copy_special(status, parent, name)
            elif self._linker is not None and status.st_size >= _LARGE:
                self._make_room(parent, name)
                self._linker.later_file(source, parent, name)
            else:
                self._copy_open_file(source, status, parent, name)
        finally:
            os.close(parent)

    def _is_directory(self, path: str) -> bool:
        try:
            os.close(open_in_root(self._root, path, os.O_PATH | os.O_DIRECTORY))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _copy_directory_source(self, source: int, status: os.stat_result, destination: str) -> None:
        exists = self._is_directory(destination)
        try:
            target = make_directory(self._root, destination, self._options.owner)
        except NotADirectoryError:
            raise InvalidParameter(f"cannot copy to non-directory: {destination}") from None
        try:
            self._copy_children(source, "", target)
            if not exists and (self._options.parents or not self._options.contents):
                self._attributes(target, status, source)
                return
            os.utime(target, ns=self._times(status))
        finally:
            os.close(target)

    def _unpacked(self, source: int, destination: str) -> bool:
        """Unpack the file below the destination if it is an archive; False if it is not."""
        if not is_archive(source):
            return False
        target = make_directory(self._root, destination, self._options.owner)
        os.lseek(source, 0, os.SEEK_SET)
        try:
            with Extractor(target, ExtractOptions(keep_target=True)) as extractor:
                extractor.extract(TarReader(decompressed(read_pieces(source))))
        finally:
            os.close(target)
        return True

    # -- trees ----------------------------------------------------------------------------------

    def _copy_children(self, source: int, path: str, target: int) -> None:
        exclude = self._options.exclude
        names = os.listdir(source)
        if self._linker is not None:
            taken = set(os.listdir(target))
            free = {name for name in names if name not in taken}
            names = [name for name in names if name in taken]
            self._linker.later(source, target, free, rest=names)
        for entry in children(source, path, names):
            if exclude.ignores(entry.path):
                if entry.is_dir and not exclude.ignores_all_below(entry.path):
                    self._copy_wanted_below(entry, target)
                continue
            self._copy_entry(entry, target)

    def _copy_wanted_below(self, entry: Entry, target: int) -> None:
        """An ignored directory of which patterns with `!` may want something back."""
        if not any(_wanted(entry, self._options.exclude)):
            return
        self._copy_directory(entry, target)

    def _copy_entry(self, entry: Entry, target: int) -> None:
        mode = entry.status.st_mode
        if stat.S_ISDIR(mode):
            self._copy_directory(entry, target)
        elif stat.S_ISSOCK(mode):
            return
        elif stat.S_ISREG(mode):
            fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.parent)
            try:
                self._copy_open_file(fd, entry.status, target, entry.name)
            finally:
                os.close(fd)
        else:
            link = os.readlink(entry.name, dir_fd=entry.parent) if stat.S_ISLNK(mode) else ""
            self._copy_special(entry.status, target, entry.name, link)

    def _copy_directory(self, entry: Entry, target: int) -> None:
        try:
            os.mkdir(entry.name, 0o700, dir_fd=target)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(entry.name, dir_fd=target, follow_symlinks=False).st_mode):
                raise InvalidParameter(f"cannot copy to non-directory: {entry.path}") from None
        source, made = open_directory(entry.parent, entry.name), open_directory(target, entry.name)
        try:
            self._copy_children(source, entry.path, made)
            self._attributes(made, entry.status, source)
        finally:
            os.close(source)
            os.close(made)

    # -- single files ---------------------------------------------------------------------------

    def _copy_open_file(self, source: int, status: os.stat_result, parent: int, name: str) -> None:
        self._make_room(parent, name)
        if status.st_nlink > 1 and self._linked(status, parent, name):
            return
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            copy_content(source, fd)
            self._attributes(fd, status, source)
            if status.st_nlink > 1 and len(self._links) < _LINKS_KEPT:
                self._links[status.st_dev, status.st_ino] = os.dup(fd)
        finally:
            os.close(fd)

    def _linked(self, status: os.stat_result, parent: int, name: str) -> bool:
        """Make a hard link to what was made of the same file before; False if nothing was."""
        first = self._links.get((status.st_dev, status.st_ino))
        if first is None:
            return False
        os.link(f"/proc/self/fd/{first}", name, dst_dir_fd=parent, follow_symlinks=True)
        return True

    def _copy_special(self, status: os.stat_result, target: int, name: str, link: str = "") -> None:
        """A device, a FIFO, a socket, or a symlink that says `link`."""
        self._make_room(target, name)
        if link:
            os.symlink(link, name, dir_fd=target)
        else:
            mode = self._mode(status)
            os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)
            os.chmod(f"/proc/self/fd/{target}/{name}", mode)
        uid, gid = self._options.owner or (status.st_uid, status.st_gid)
        os.chown(name, uid, gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=self._times(status), dir_fd=target, follow_symlinks=False)

    def _make_room(self, parent: int, name: str) -> None:
        try:
            existing = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(existing.st_mode):
            raise InvalidParameter(f"cannot copy non-directory over directory {name}")
        os.unlink(name, dir_fd=parent)

    def _mode(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        change = self._options.mode
        return change(mode, stat.S_ISDIR(status.st_mode)) if change else mode

    def _times(self, status: os.stat_result) -> tuple[int, int]:
        chosen = self._options.time_ns
        moment = status.st_mtime_ns if chosen is None else chosen
        return moment, moment

    def _attributes(self, target: int, status: os.stat_result, source: int) -> None:
        os.fchown(target, *(self._options.owner or (status.st_uid, status.st_gid)))
        os.fchmod(target, self._mode(status))  # after chown, which clears setuid bits
        set_portable(target, get_portable(source))
        os.utime(target, ns=self._times(status))


def _wanted(entry: Entry, exclude: IgnoreMatcher) -> Iterator[bool]:
    """Whether anything below an ignored directory is wanted after all."""
    fd = open_directory(entry.parent, entry.name)
    try:
        for child in children(fd, entry.path):
            if not exclude.ignores(child.path):
                yield True
            elif child.is_dir:
                yield from _wanted(child, exclude)
    finally:
        os.close(fd)


def is_archive(fd: int) -> bool:
    """Whether the file is a tar, plain or compressed: it must begin with a sound header."""
    os.lseek(fd, 0, os.SEEK_SET)
    head = b""
    try:
        for piece in decompressed(read_pieces(fd)):
            head += piece[:BLOCK]
            if len(head) >= BLOCK:
                return is_header(head[:BLOCK])
    except BadArchive:
        pass
    return False
