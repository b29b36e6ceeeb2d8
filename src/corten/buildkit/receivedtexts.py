"""A few small files that a client sends, in memory: a Dockerfile, a .dockerignore."""

from __future__ import annotations

import stat
from collections.abc import Sequence

from corten.builder.treeindex import Attributes, Known
from corten.buildkit.transfer import Transfer
from corten.errors import InvalidParameter

_MAX_TEXT = 4 << 20
_MAX_SYMLINKS = 40  # as the kernel has it


class ReceivedTexts(Transfer):
    """The files `names`, wherever symlinks lead within what the client sends. Nothing else is asked for."""

    max_listed = 4 << 20  # they, what leads there, and what is above them

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names
        self._identifiers: dict[str, int] = {}  # of regular files, by path
        self._texts: dict[int, bytearray] = {}

    def text(self, name: str) -> bytes | None:
        """What is in one of the files, None if there is none. Raises InvalidParameter."""
        path = self._target(name)
        if path is None:
            return None
        if path not in self._identifiers:
            known = self._files.get(path)
            is_directory = known is None or stat.S_ISDIR(known[0][0])
            raise InvalidParameter(f"read {name}: is {'a directory' if is_directory else 'no regular file'}")
        return bytes(self._texts[self._identifiers[path]])

    def _take(self, path: str, attributes: Attributes, known: Known | None, identifier: int) -> None:
        self._files[path] = (attributes, b"")
        if stat.S_ISREG(attributes[0]):
            self._identifiers[path] = identifier

    def _end_list(self) -> None:
        for path in self._identifiers.keys() & set(map(self._target, self._names)):
            identifier = self._identifiers[path]
            self._texts[identifier] = bytearray()
            if self._files[path][0][3]:
                self._ask(identifier)

    def _content(self, identifier: int, data: bytes) -> None:
        text = self._texts[identifier]
        text += data
        if len(text) > _MAX_TEXT:
            [path] = (path for path, each in self._identifiers.items() if each == identifier)
            raise InvalidParameter(f"{path!r} is larger than {_MAX_TEXT} bytes")

    def _target(self, name: str) -> str | None:
        """Where a path leads to, as the kernel would find it below this root; None if that is nowhere."""
        names, path, links = name.split("/")[::-1], list[str](), 0
        while names:
            name = names.pop()
            if name == "..":
                del path[-1:]
            if name in ("", ".", ".."):
                continue
            known = self._files.get("/".join([*path, name]))
            if known is None:
                return None
            mode, link = known[0][0], known[0][5]
            if not link:
                path.append(name)
                continue
            links += 1
            if links > _MAX_SYMLINKS:
                return None
            if link.startswith("/") or not stat.S_ISLNK(mode):  # another name of a file is told from the root
                path = []
            names += link.split("/")[::-1]
        return "/".join(path)
