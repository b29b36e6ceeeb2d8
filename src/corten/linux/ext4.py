"""Growing ext4 while it is mounted. Source: Documentation/filesystems/ext4: super.rst, EXT4_IOC_RESIZE_FS."""

from __future__ import annotations

import fcntl
import os
import struct

_EXT4_IOC_RESIZE_FS = 0x40086610
_SUPERBLOCK = 1024
_BLOCKS_LOW, _BLOCKS_HIGH = 0x4, 0x150


def blocks(device: int) -> int:
    """How many blocks the file system on a device (an fd) has. Raises OSError."""
    low, high = (
        struct.unpack("<I", os.pread(device, 4, _SUPERBLOCK + offset))[0]
        for offset in (_BLOCKS_LOW, _BLOCKS_HIGH)
    )
    return int(low | high << 32)


def grow(directory: int, blocks: int) -> None:
    """Bring the mounted file system that `directory` (an fd) is on to that many blocks; its device has them.

    Raises OSError: EPERM without CAP_SYS_RESOURCE.
    """
    fcntl.ioctl(directory, _EXT4_IOC_RESIZE_FS, struct.pack("Q", blocks))
