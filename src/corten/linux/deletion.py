"""Deleting trees that a container or a hostile archive made, however deep they are.

shutil.rmtree recurses and keeps a descriptor per level (until Python 3.13), so 1,000 nested directories
defeat it. Here what lies two levels down is renamed up before it is entered: two descriptors, no stack.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from itertools import count

from corten.linux.openat2 import RESOLVE_NO_XDEV, open_beneath

_ATTEMPTS = 50
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def delete_tree(path: str) -> None:
    """Remove a file, or a directory with all below it, never following links nor entering mounts.

    Nothing there is fine. Raises OSError for what cannot be removed (a mount point, say).
    """
    try:
        root = os.open(path, _DIR)
    except FileNotFoundError:
        return
    except OSError:  # no directory, or a link to one
        os.unlink(path)
        return
    try:
        for attempt in range(_ATTEMPTS):
            try:
                empty_directory(root)
                os.rmdir(path)
                return
            except OSError as e:
                # Somebody still writes here: a worker of an engine that was killed a moment ago.
                if e.errno not in (errno.ENOTEMPTY, errno.ENOENT) or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.001 * attempt)
    finally:
        os.close(root)


def empty_directory(root: int) -> None:
    """Remove all that is in the directory with the fd `root`."""
    numbers = count()
    while names := os.listdir(root):
        for name in names:
            if not _is_dir(name, root):
                os.unlink(name, dir_fd=root)
                continue
            with suppress(OSError):
                os.rmdir(name, dir_fd=root)
                continue
            _lift(name, root, numbers)
            os.rmdir(name, dir_fd=root)


def _lift(name: str, root: int, numbers: count[int]) -> None:
    """Empty the directory `name`: files go, directories move up into the root under new names."""
    fd = open_beneath(root, name, _DIR, resolve=RESOLVE_NO_XDEV)  # what is mounted there is not ours
    try:
        for child in os.listdir(fd):
            if not _is_dir(child, fd):
                os.unlink(child, dir_fd=fd)
                continue
            try:
                os.rmdir(child, dir_fd=fd)
            except OSError:
                _move(child, fd, root, numbers)
    finally:
        os.close(fd)


def _move(name: str, source: int, root: int, numbers: count[int]) -> None:
    while True:
        target = f".deleting-{next(numbers)}"
        try:
            os.stat(target, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, target, src_dir_fd=source, dst_dir_fd=root)
            return


def _is_dir(name: str, parent: int) -> bool:
    return (os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode & 0o170000) == 0o040000
