"""Volumes and containers of a limited size where the file system has project quotas: the kernel counts
directories.

A project is in its owner's row before the kernel hears of it. One that its owner has left keeps its number
busy for as long as there are files of it (the trash has them): the kernel is asked before a number is given.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager

from corten.linux import quota

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FIRST, _ENGINES, _EACH = 1 << 30, 1 << 14, 1 << 16
"""Each engine takes 65536 numbers of its own; far from those that people and Docker give."""


class Projects:
    """The projects of one engine's volumes, or of its containers. first: their lowest number."""

    def __init__(self, root: str) -> None:
        """root: the directory in which theirs are, on their file system."""
        self._root = root
        self.first = _FIRST + zlib.crc32(os.path.realpath(root).encode()) % _ENGINES * _EACH

    def choose(self, taken: Container[int]) -> int:
        """The number of a project that nobody has; 0 where there are no project quotas. Raises OSError."""
        with self._opened(self._root) as fd:
            if not quota.is_enforced(fd):
                return 0
            for project in range(self.first, self.first + _EACH):
                if project not in taken and quota.usage(fd, project) == quota.Usage():
                    return project
        return 0

    def limit(self, directory: str, project: int, size_bytes: int) -> None:
        """Limit what is and will be in a directory, for the first time or to another size. Raises OSError."""
        with self._opened(directory) as fd:
            quota.set_limit(fd, project, size_bytes)
            quota.give_to_project(fd, project)

    def release(self, project: int) -> None:
        """Its owner goes. Raises OSError."""
        with self._opened(self._root) as fd:
            quota.set_limit(fd, project, 0)

    def used(self, project: int) -> int:
        """Bytes on the disk. Raises OSError."""
        with self._opened(self._root) as fd:
            return quota.usage(fd, project).used_bytes

    @contextmanager
    def _opened(self, directory: str) -> Iterator[int]:
        fd = os.open(directory, _DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)
