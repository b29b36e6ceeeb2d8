"""What the files below a directory come to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath

_NO_LINKS = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


def tree_bytes(directory: str) -> int:
    """Bytes of all files below a directory, hard links counted once. Blocks.

    A container may be at work in there: no link is followed, whatever changes meanwhile.
    """
    try:
        root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    total, waiting, seen = 0, ["."], set()
    try:
        while waiting:
            path = waiting.pop()
            for name, status in _entries(root, path):
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(f"{path}/{name}")
                elif status.st_nlink == 1 or status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_size
    finally:
        os.close(root)
    return total


def _entries(root: int, path: str) -> Iterator[tuple[str, os.stat_result]]:
    """What is in a directory below `root`; nothing for what is none any more."""
    try:
        fd = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=_NO_LINKS)
    except OSError:
        return
    try:
        for name in os.listdir(fd):
            try:
                yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
    finally:
        os.close(fd)
