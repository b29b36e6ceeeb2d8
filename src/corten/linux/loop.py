"""Loop devices: a file as a block device. Source: linux/loop.h, LOOP_CONFIGURE (Linux 5.8)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

_LOOP_SET_CAPACITY = 0x4C07
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_AUTOCLEAR = 4
_ATTEMPTS = 64


class _Info(ctypes.Structure):
    _fields_ = (
        ("device", ctypes.c_uint64),
        ("inode", ctypes.c_uint64),
        ("rdevice", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("size_limit", ctypes.c_uint64),
        ("number", ctypes.c_uint32),
        ("encrypt_type", ctypes.c_uint32),
        ("encrypt_key_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("file_name", ctypes.c_char * 64),
        ("crypt_name", ctypes.c_char * 64),
        ("encrypt_key", ctypes.c_char * 32),
        ("init", ctypes.c_uint64 * 2),
    )


class _Config(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("info", _Info),
        ("reserved", ctypes.c_uint64 * 8),
    )


def attach(image: int) -> tuple[int, str]:
    """(fd, path) of a free loop device that shows the file `image` (an fd open for writing).

    The device goes by itself when its last user does: keep the fd until it is mounted. Raises OSError.
    """
    config = _Config(fd=image, info=_Info(flags=_AUTOCLEAR))
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, bytes(config))
            except OSError as e:
                os.close(device)
                if e.errno != errno.EBUSY:  # somebody else was quicker
                    raise
                continue
            return device, path
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no free loop device", "/dev/loop-control")


def open_device(number: int) -> int:
    """fd of the loop device with that number (st_dev of what is mounted from it). Raises OSError."""
    name = os.path.basename(os.readlink(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"))
    return os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC)


def take_new_size(device: int) -> None:
    """Let a loop device (an fd) notice that its file has grown. Raises OSError."""
    fcntl.ioctl(device, _LOOP_SET_CAPACITY)
