"""What is known of a directory that only we write to: each file's attributes and content, without looking.

The directory is a build context that is kept; who brings it up to date writes down what has come. Layers may
share its files by hard links, so a file in it is never written to again: it is replaced.

All is in plain tuples, because marshal takes nothing else, and nothing else is as quick.
"""

from __future__ import annotations

import marshal
import os
import posixpath
import stat
from collections.abc import Iterable
from functools import cached_property
from typing import Any, TypeAlias

from corten.builder.ops.contentrecord import record, tree_digest

_LENGTH = 8  # bytes that say how long the first part of the file is

Attributes: TypeAlias = "tuple[int, int, int, int, int, str, tuple[tuple[str, bytes], ...]]"
"""Mode with type, uid, gid, size, mtime in ns, link, xattrs sorted by name.

The link is a symlink's target, of a further hard link the first one's path.
"""

Known: TypeAlias = "tuple[Attributes, bytes]"
"""Attributes and digest: sha256 of a file's content; of a directory `contentrecord`'s, of all below it."""


class TreeIndex:
    """`files`: path → what is known, relative, "/" between names; the root is ""."""

    def __init__(self, files: dict[str, Known] | None = None) -> None:
        self.files = files or {}

    @classmethod
    def load(cls, path: str) -> TreeIndex:
        """What `save` has written; empty if it has not, or if path is ""."""
        return cls(_read(path, 1))

    def save(self, path: str) -> None:
        """Write to a file that only the engine can write to: marshal trusts what it reads."""
        directories = {each: known[1] for each, known in self.files.items() if stat.S_ISDIR(known[0][0])}
        head, rest = marshal.dumps(directories), marshal.dumps(self.files)
        with open(f"{path}.new", "wb") as file:
            file.write(len(head).to_bytes(_LENGTH, "big") + head + rest)
        os.rename(f"{path}.new", path)  # all of it, or nothing

    def digest_directories(self, changed: Iterable[str]) -> None:
        """Find the digests of the directories in which, or below which, something has changed."""
        children: dict[str, list[str]] = {}
        for path in changed:
            while path not in children:
                children[path] = []
                path = posixpath.dirname(path)
        for path in self.files:
            found = children.get(path.rpartition("/")[0])
            if found is not None and path:
                found.append(path)
        for path in sorted(children, reverse=True):  # what is below comes first
            if known := self.files.get(path):
                self.files[path] = (known[0], tree_digest(map(self._record, children[path])))

    def _record(self, path: str) -> tuple[bytes, bytes]:
        (mode, uid, gid, _, _, link, xattrs), digest = self.files[path]
        name = os.fsencode(path.rpartition("/")[2])
        detail = os.fsencode(link) if stat.S_ISLNK(mode) else digest
        return name, record(name, mode, uid, gid, {k.encode(): v for k, v in xattrs}, detail)


class KnownDigests:
    """The digests in an index: at first those of the directories, the rest only if somebody asks for more."""

    def __init__(self, path: str) -> None:
        """path: as for `TreeIndex.load`."""
        self._path = path
        self._directories: dict[str, bytes] = _read(path, 0)

    @cached_property
    def _files(self) -> dict[str, Known]:
        return TreeIndex.load(self._path).files

    def find(self, path: str) -> bytes | None:
        """The digest of a path that has no symlinks on its way, None if it is not known."""
        if digest := self._directories.get(path):
            return digest
        known = self._files.get(path)
        return known[1] if known else None


def _read(path: str, part: int) -> Any:
    """One of the two parts of what `save` has written; empty if there is none."""
    try:
        with open(path, "rb") as file:
            # At once: marshal reads a file in very small pieces.
            head = file.read(int.from_bytes(file.read(_LENGTH), "big"))
            return marshal.loads(file.read() if part else head)  # noqa: S302 - written by `save`
    except FileNotFoundError:
        return {}
