"""A rotated log as one sequence of bytes: `path.2`, `path.1`, `path`."""

from __future__ import annotations

import os
from typing import Self

_BLOCK = 1 << 16


class RotatedLog:
    """Reads a log forwards over its rotated files and goes on when it grows or rotates.

    The files are held open, so that rotation under our hands loses nothing. Plain blocking calls;
    `read_lines` reads at most `_BLOCK` bytes at a time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fds: list[int] = []  # oldest first; [0] is the one being read
        self._offset = 0
        self._rest = b""
        self._fds = self._open_newer_than(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        while self._fds:
            os.close(self._fds.pop())

    def seek_to_tail(self, lines: int) -> None:
        """Go to where the last `lines` complete lines begin, reading backwards as little as needed."""
        for index in range(len(self._fds) - 1, -1, -1):
            found, offset = _find_from_end(self._fds[index], lines)
            if offset is not None or index == 0:
                for fd in self._fds[:index]:
                    os.close(fd)
                del self._fds[:index]
                self._offset = offset or 0
                return
            lines -= found

    def read_lines(self) -> bytes:
        """The next complete lines; empty at the present end."""
        while True:
            if not self._fds and not self._reopen():
                return b""
            data = os.pread(self._fds[0], _BLOCK, self._offset)
            if data:
                self._offset += len(data)
                head, newline, tail = data.rpartition(b"\n")
                if not newline:
                    self._rest += data
                    continue
                lines = self._rest + head + newline
                self._rest = tail
                return lines
            if len(self._fds) > 1:
                self._next_file()
            elif not self._has_rotated():
                return b""

    def _next_file(self) -> None:
        os.close(self._fds.pop(0))
        self._offset, self._rest = 0, b""

    def _reopen(self) -> bool:
        self._fds = self._open_newer_than(None)
        return bool(self._fds)

    def _has_rotated(self) -> bool:
        """At the end of the newest file we know: is there something newer, or was it truncated?"""
        ours = os.fstat(self._fds[0])
        if ours.st_size < self._offset:
            self._offset, self._rest = 0, b""
            return ours.st_size > 0
        try:
            newest = os.stat(self._path)
        except FileNotFoundError:
            return False  # between the writer's rename and its create, or all removed
        if (newest.st_dev, newest.st_ino) == (ours.st_dev, ours.st_ino):
            return False
        # The writer may have added to our file after our last read and before it rotated.
        if ours.st_size > self._offset or os.fstat(self._fds[0]).st_size > self._offset:
            return True
        newer = self._open_newer_than((ours.st_dev, ours.st_ino))
        self._fds.extend(newer)
        return bool(newer)

    def _open_newer_than(self, known: tuple[int, int] | None) -> list[int]:
        """Open path, path.1, ... until `known` or the oldest; returned oldest first.

        Going from new to old a concurrent rotation can only show the same file twice, never hide one.
        """
        fds: list[int] = []
        seen: set[tuple[int, int]] = set()
        number = 0
        while True:
            try:
                fd = os.open(f"{self._path}.{number}" if number else self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                if number:
                    break
                number = 1
                continue
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino)
            if key == known:
                os.close(fd)
                break
            if key in seen:
                os.close(fd)
            else:
                seen.add(key)
                fds.append(fd)
            number += 1
        fds.reverse()
        return fds


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
