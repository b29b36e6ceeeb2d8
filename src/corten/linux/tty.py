"""Pseudo-terminals: pty(7), ioctl_tty(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios

from corten.linux.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    open_beneath,
)

TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441

_WINSIZE = struct.Struct("HHHH")


_PTMX = os.makedev(5, 2)


def open_master(directory: int) -> int:
    """Open and unlock a new pseudo-terminal master of the devpts that is mounted at fd `directory`.

    Whatever else is there instead (a volume over /dev/pts, a link to the host's ptmx) is refused with
    ENODEV or the error of openat2(2): CVE-2025-52565.
    """
    plain = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
    master = open_beneath(directory, "ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK, resolve=plain)
    try:
        found = os.fstat(master)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _PTMX:
            raise OSError(errno.ENODEV, "not a pseudo-terminal multiplexer", "ptmx")
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    except OSError:
        os.close(master)
        raise
    os.set_blocking(master, True)
    return master


def open_peer(master: int) -> int:
    """Open the slave side without going through a path (TIOCGPTPEER, Linux 4.13)."""
    return fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(fd: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ; the kernel sends SIGWINCH to the foreground process group."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _WINSIZE.pack(rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def get_size(fd: int) -> tuple[int, int]:
    """(rows, columns)."""
    rows, columns, _, _ = _WINSIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * _WINSIZE.size))
    return rows, columns


def make_controlling(fd: int) -> None:
    """TIOCSCTTY: make `fd` the controlling terminal of the caller, who must lead its session."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
