"""Files of a directory in a layer by hard links: no content is read, no inode made.

Only for directories whose files are never written to again (`results.Directory.linkable`), and only into what
becomes a layer: overlayfs copies a layer's file before a container may write to it, so nobody ever writes to
an inode that others have too. One layer has an inode twice only where its names were hard links of each other
before, or one large file was copied under several names: a container's writes part them again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

from corten.builder.ops.recordedtar import LinkedTree
from corten.builder.ops.target import Target
from corten.builder.ops.tree import Entry, open_below, open_directory, place_below

_NOT_THIS_ONE = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP)

CopyFile = Callable[[Entry, int], None]
CopyAttributes = Callable[[int, os.stat_result, int], None]
OnTree = Callable[[LinkedTree], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Names in one directory of the source, to be linked into one of the layer; as `renamed` if it is one."""

    source: str
    target: str
    names: Collection[str]
    renamed: str = ""


class Linker:
    """Notes what can be linked while the merged root is looked at, and links it when that is unmounted."""

    def __init__(
        self, source: int, target: Target, copy_file: CopyFile, copy_attributes: CopyAttributes
    ) -> None:
        """copy_file(entry, directory): for what cannot be linked; copy_attributes(target, status, source)."""
        self._source = source
        self._target = target
        self._copy_file = copy_file
        self._copy_attributes = copy_attributes
        self._waiting: list[_Waiting] = []
        self._trees: list[_Waiting] = []
        self._copied = False
        self.on_tree: OnTree | None = None
        """Told of what is `whole` before the first of its links is made."""

    def later(self, source: int, target: int, names: Collection[str], *, rest: Collection[str] = ()) -> None:
        """What of the directory `source` is to come into `target`, where nothing has these names.

        rest: the other names in it, which are not for links.
        """
        self._copied = self._copied or bool(rest)
        if names:
            self._note(place_below(self._source, source), target, names, "")

    def later_file(self, source: int, target: int, name: str) -> None:
        """The open file is to come into `target` under this name; what has it may be replaced."""
        above, _, base = place_below(self._source, source).rpartition("/")
        self._note(above, target, (base,), name)

    def _note(self, source: str, target: int, names: Collection[str], renamed: str) -> None:
        os.fchmod(target, os.fstat(target).st_mode & 0o7777)  # brings it into the upperdir
        waiting = _Waiting(source, self._target.place(target), names, renamed)
        self._waiting.append(waiting)
        self._trees.append(waiting)

    @property
    def whole(self) -> LinkedTree | None:
        """The tree that everything linked is, if it is just one and nothing of it had to be copied."""
        if len(self._trees) != 1 or self._copied or self._trees[0].renamed:
            return None
        return LinkedTree(self._trees[0].source, self._trees[0].target)

    def link(self) -> None:
        """Do what was noted. The target's root is another one afterwards."""
        if not self._waiting:
            return
        self._target.unmount()
        if self.on_tree is not None and self.whole is not None:
            self.on_tree(self.whole)
        for waiting in self._waiting:
            source, target = (
                open_below(self._source, waiting.source),
                open_below(self._target.upper, waiting.target),
            )
            try:
                time = os.fstat(target).st_mtime_ns
                if waiting.renamed:
                    self._link(source, next(iter(waiting.names)), target, waiting.renamed)
                else:
                    self._link_all(source, target, waiting.names)
                os.utime(target, ns=(time, time))
            finally:
                os.close(source)
                os.close(target)
        self._waiting.clear()

    def _link_all(self, source: int, target: int, names: Collection[str] | None) -> None:
        with os.scandir(source) as found:
            for entry in found:
                if names is not None and entry.name not in names:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    self._directory(source, entry.name, target)
                else:
                    self._link(source, entry.name, target, entry.name)

    def _directory(self, source: int, name: str, target: int) -> None:
        os.mkdir(name, 0o700, dir_fd=target)
        inner, made = open_directory(source, name), open_directory(target, name)
        try:
            self._link_all(inner, made, None)
            self._copy_attributes(made, os.fstat(inner), inner)
        finally:
            os.close(inner)
            os.close(made)

    def _link(self, source: int, name: str, target: int, new_name: str) -> None:
        try:
            os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except FileExistsError:
            os.unlink(new_name, dir_fd=target)  # a deletion of what the lower layers have there
            self._link(source, name, target, new_name)
        except OSError as error:
            if error.errno not in _NOT_THIS_ONE or name != new_name:
                raise
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            self._copied = True
            self._copy_file(Entry(source, name, name, status), target)
