"""Pseudo-terminals: pty(7), ioctl_tty(2)."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TIOCSPTLCK = 0x40045431
TIOCGPTN = 0x80045430
TIOCGPTPEER = 0x5441

_WINSIZE = struct.Struct("HHHH")


def open_master(path: str = "/dev/pts/ptmx") -> int:
    """Open and unlock a new pseudo-terminal master of the devpts instance that `path` belongs to."""
    master = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    return master


def slave_number(master: int) -> int:
    """N of the slave's /dev/pts/N."""
    return int(struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, b"\0\0\0\0"))[0])


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
