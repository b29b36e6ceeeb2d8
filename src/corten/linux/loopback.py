"""Bringing up `lo` in the current network namespace: netdevice(7)."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def up() -> None:
    """Set IFF_UP on lo; the kernel then gives it 127.0.0.1/8 and ::1/128."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
