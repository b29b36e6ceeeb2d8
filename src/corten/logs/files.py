"""A rotated log as one sequence of bytes: `path.2.gz`, `path.1`, `path`."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import Self

_BLOCK = 1 << 16
_HEADER = 10  # RFC 1952: what stands before a compressed file's comment
_COMMENT_MAX = 64
_GZIP = zlib.MAX_WBITS | 16


class _Part:
    """One file. A compressed one is unpacked into memory when it is read for the first time."""

    __slots__ = ("_file", "_packed", "fd")

    def __init__(self, fd: int, *, packed: bool) -> None:
        self.fd = fd
        self._packed = packed
        self._file: os.stat_result | None = None  # the compressed file that `fd` was unpacked from

    @property
    def status(self) -> os.stat_result:
        """Of the file in the directory."""
        return self._file or os.fstat(self.fd)

    def is_same(self, other: os.stat_result) -> bool:
        """Whether it is, or was made of, the file with that status."""
        if os.path.samestat(self.status, other):
            return True
        if not self._packed:
            return False
        comment = os.pread(self.fd, _COMMENT_MAX, _HEADER).partition(b"\0")[0]
        return comment == b"%d:%d" % (other.st_ino, other.st_mtime_ns)

    def plain(self) -> int:
        """An fd to read from."""
        if self._packed:
            self._packed, self._file = False, os.fstat(self.fd)
            packed, self.fd = self.fd, os.memfd_create("log", os.MFD_CLOEXEC)
            try:
                _unpack(packed, self.fd)
            finally:
                os.close(packed)
        return self.fd

    def close(self) -> None:
        os.close(self.fd)


def _unpack(source: int, target: int) -> None:
    unpacker, offset = zlib.decompressobj(_GZIP), 0
    while block := os.pread(source, _BLOCK, offset):
        offset += len(block)
        try:
            os.write(target, unpacker.decompress(block))
        except zlib.error:
            return  # torn by a power cut: what came before is shown


class RotatedLog:
    """Reads a log forwards over its rotated files and goes on when it grows or rotates.

    The files are held open, so that rotation under our hands loses nothing. Plain blocking calls;
    `read_lines` reads at most `_BLOCK` bytes at a time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._parts: list[_Part] = []  # oldest first; [0] is the one being read
        self._offset = 0
        self._rest = b""
        self._parts = self._open_newer_than(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        while self._parts:
            self._parts.pop().close()

    def seek_to_tail(self, lines: int) -> None:
        """Go to where the last `lines` complete lines begin, reading backwards as little as needed."""
        for index in range(len(self._parts) - 1, -1, -1):
            found, offset = _find_from_end(self._parts[index].plain(), lines)
            if offset is not None or index == 0:
                for part in self._parts[:index]:
                    part.close()
                del self._parts[:index]
                self._offset = offset or 0
                return
            lines -= found

    def read_lines(self) -> bytes:
        """The next complete lines; empty at the present end."""
        while True:
            if not self._parts and not self._reopen():
                return b""
            data = os.pread(self._parts[0].plain(), _BLOCK, self._offset)
            if data:
                self._offset += len(data)
                head, newline, tail = data.rpartition(b"\n")
                if not newline:
                    self._rest += data
                    continue
                lines = self._rest + head + newline
                self._rest = tail
                return lines
            if len(self._parts) > 1:
                self._next_file()
            elif not self._has_rotated():
                return b""

    def _next_file(self) -> None:
        self._parts.pop(0).close()
        self._offset, self._rest = 0, b""

    def _reopen(self) -> bool:
        self._parts = self._open_newer_than(None)
        return bool(self._parts)

    def _has_rotated(self) -> bool:
        """At the end of the newest file we know: is there something newer, or was it truncated?"""
        ours = self._parts[0].status
        size = os.fstat(self._parts[0].plain()).st_size
        if size < self._offset:
            self._offset, self._rest = 0, b""
            return size > 0
        try:
            newest = os.stat(self._path)
        except FileNotFoundError:
            return False  # between the writer's rename and its create, or all removed
        if (newest.st_dev, newest.st_ino) == (ours.st_dev, ours.st_ino):
            return False
        # The writer may have added to our file after our last read and before it rotated.
        if os.fstat(self._parts[0].fd).st_size > self._offset:
            return True
        newer = self._open_newer_than(self._parts[0].status)  # asked again: the last write is over
        self._parts.extend(newer)
        return bool(newer)

    def _open_newer_than(self, known: os.stat_result | None) -> list[_Part]:
        """Open path, path.1, ... until `known` or the oldest; returned oldest first.

        Going from new to old a concurrent rotation can only show the same file twice, never hide one.
        """
        parts: list[_Part] = []
        number = 0
        while True:
            part = _open_part(f"{self._path}.{number}" if number else self._path)
            if part is None:
                if number:
                    break
                number = 1
                continue
            if known is not None and part.is_same(known):
                part.close()
                break
            if _is_there(part, parts):
                part.close()
            else:
                parts.append(part)
            number += 1
        parts.reverse()
        return parts


def _open_part(path: str) -> _Part | None:
    for ending in ("", ".gz"):
        try:
            fd = os.open(path + ending, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        return _Part(fd, packed=bool(ending))
    return None


def _is_there(part: _Part, parts: Sequence[_Part]) -> bool:
    """Whether the file was opened already, under the name that it had before a rotation."""
    return any(part.is_same(each.status) for each in parts)


def _find_from_end(fd: int, lines: int) -> tuple[int, int | None]:
    """Where the last `lines` lines of a file begin.

    Returns (newlines seen, offset); the offset is None when the file has fewer lines than that
    (older files must be asked too).
    """
    end = os.fstat(fd).st_size
    if lines <= 0:
        return 0, _after_last_newline(fd, end)
    seen = 0
    while end > 0:
        start = max(0, end - _BLOCK)
        block = os.pread(fd, end - start, start)
        count = block.count(b"\n")
        if seen + count > lines:
            position = len(block)
            for _ in range(lines - seen + 1):
                position = block.rindex(b"\n", 0, position)
            return seen + count, start + position + 1
        seen += count
        end = start
    return seen, 0 if seen == lines else None


def _after_last_newline(fd: int, end: int) -> int:
    while end > 0:
        start = max(0, end - _BLOCK)
        position = os.pread(fd, end - start, start).rfind(b"\n")
        if position >= 0:
            return start + position + 1
        end = start
    return 0
