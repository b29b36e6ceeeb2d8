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
from typing import TypeAlias

from corten.builder.ops.contentrecord import record, tree_digest

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
        try:
            with open(path, "rb") as file:
                # At once: marshal reads a file in very small pieces.
                return cls(marshal.loads(file.read()))  # noqa: S302 - written by `save`
        except FileNotFoundError:
            return cls()

    def save(self, path: str) -> None:
        """Write to a file that only the engine can write to: marshal trusts what it reads."""
        with open(path, "xb") as file:
            file.write(marshal.dumps(self.files))

    def digest_of(self, path: str) -> bytes | None:
        """The digest of a path that has no symlinks on its way, None if it is not known."""
        known = self.files.get(path)
        return known[1] if known else None

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
