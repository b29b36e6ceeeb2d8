"""syncfs(2): what was written to one file system is on its disk."""

from __future__ import annotations

import ctypes

from corten.linux.syscalls import check

_syncfs = ctypes.CDLL(None, use_errno=True).syncfs  # CDLL gives the interpreter's lock away: it may take long
_syncfs.argtypes = [ctypes.c_int]


def syncfs(fd: int) -> None:
    """Wait until the file system that `fd` is on has written everything. Raises OSError."""
    check(_syncfs(fd), "syncfs")
