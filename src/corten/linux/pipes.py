"""Looking into pipes and moving their content without copying: tee(2), splice(2), FIONREAD."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select

from corten.linux.syscalls import check, libc

_SPLICE_F_NONBLOCK = 2
_F_SETPIPE_SZ = 1031

_tee = libc.tee
_tee.restype = ctypes.c_ssize_t
_tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]


def tee(source: int, target: int, count: int) -> int:
    """Let up to `count` bytes of one pipe be in another one, too. How many; 0 is end of file.

    Raises BlockingIOError if the source is empty (or the target full).
    """
    return check(_tee(source, target, count, _SPLICE_F_NONBLOCK), "tee")


def move(source: int, target: int, count: int) -> None:
    """Move `count` bytes that are in a pipe to another one, which has room, or to a file. Raises OSError."""
    while count:
        moved = os.splice(source, target, count, flags=_SPLICE_F_NONBLOCK)
        if not moved:
            raise OSError(5, "pipe ended early", "splice")
        count -= moved


def pull(source: int, target: int, count: int) -> int:
    """Move up to `count` bytes of something else, a terminal, into a pipe. How many; see splice(2)."""
    return os.splice(source, target, count, flags=_SPLICE_F_NONBLOCK)


def enlarge(pipe: int) -> None:
    """Let a pipe have 256 buffers instead of 16, each of which holds what came at once."""
    fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)


def hung_up(pipe: int) -> bool:
    """Whether nobody has its other end any more; it may hold something still."""
    poller = select.poll()
    poller.register(pipe, 0)
    return bool(poller.poll(0))
