"""Project quotas: what the files of one project may take of their file system together.

A directory that was given to a project gives it to what is made in it. ext4 (made with `-O project,quota`),
XFS and f2fs have them where they are mounted with `prjquota`. `fd` is of anything on the file system.
Sources: quotactl(2); linux/quota.h, dqblk_xfs.h and fs.h. Needs Linux 5.14 (quotactl_fd).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from dataclasses import dataclass

from corten.linux.syscalls import NR_QUOTACTL_FD, syscall

_PRJQUOTA = 2
_Q_GETQUOTA = 0x800007
_Q_SETQUOTA = 0x800008
_Q_XGETQSTATV = ord("X") << 8 | 8
_STATV_SIZE = 256  # more than struct fs_quota_statv
_STATV_VERSION1 = 1
_PROJECTS_ENFORCED = 1 << 5  # FS_QUOTA_PDQ_ENFD
# struct if_dqblk: hard limit, soft limit, bytes used; the same of inodes; two times; what of this is meant
_DQBLK = struct.Struct("8QI4x")
_QIF_BLIMITS = 1
_BLOCK = 1024
_FS_IOC_FSGETXATTR = 0x801C581F
_FS_IOC_FSSETXATTR = 0x401C5820
_FSXATTR = struct.Struct("5I8x")  # flags, extent size, extents, project, extent size of copies
_PROJINHERIT = 0x200


@dataclass(frozen=True, slots=True)
class Usage:
    """What a project's files take, and may take (0: as much as there is)."""

    used_bytes: int = 0
    inodes: int = 0
    limit_bytes: int = 0


def is_enforced(fd: int) -> bool:
    """Whether the file system keeps projects to their limits."""
    state = ctypes.create_string_buffer(bytes([_STATV_VERSION1]), _STATV_SIZE)
    try:
        _quotactl(fd, _Q_XGETQSTATV, 0, state)
    except OSError:  # no quotas there, or none on this file system or kernel
        return False
    return bool(int.from_bytes(state.raw[2:4], "little") & _PROJECTS_ENFORCED)


def usage(fd: int, project: int) -> Usage:
    """What the kernel has counted. Raises OSError."""
    answer = ctypes.create_string_buffer(_DQBLK.size)
    try:
        _quotactl(fd, _Q_GETQUOTA, project, answer)
    except OSError as e:
        if e.errno == errno.ENOENT:  # XFS, of a project that it has never heard of
            return Usage()
        raise
    limit, _, used, _, _, inodes, *_ = _DQBLK.unpack(answer.raw)
    return Usage(used, inodes, limit * _BLOCK)


def set_limit(fd: int, project: int, limit_bytes: int) -> None:
    """Limit what the project may take (in steps of 1 KiB); 0: no limit. Raises OSError."""
    blocks = -(-limit_bytes // _BLOCK)
    wanted = ctypes.create_string_buffer(
        _DQBLK.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _QIF_BLIMITS), _DQBLK.size
    )
    _quotactl(fd, _Q_SETQUOTA, project, wanted)


def give_to_project(directory: int, project: int) -> None:
    """Count the directory `directory` (an fd), and what will be made in it, to a project. Raises OSError."""
    flags, extent, extents, _, copied = _FSXATTR.unpack(
        fcntl.ioctl(directory, _FS_IOC_FSGETXATTR, bytes(_FSXATTR.size))
    )
    wanted = _FSXATTR.pack(flags | _PROJINHERIT, extent, extents, project, copied)
    fcntl.ioctl(directory, _FS_IOC_FSSETXATTR, wanted)


def _quotactl(fd: int, command: int, project: int, argument: ctypes.Array[ctypes.c_char]) -> None:
    syscall(
        NR_QUOTACTL_FD,
        ctypes.c_uint(fd),
        ctypes.c_uint(command << 8 | _PRJQUOTA),
        ctypes.c_uint(project),
        argument,
        what="quotactl_fd",
    )
