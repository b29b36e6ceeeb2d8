"""Mounts: mount(2), umount2(2), pivot_root(2), and the fd-based API of Linux 5.2 and later.

Two families. The classic calls take strings and serve where both sides are ours. What touches a path
that a container may have prepared goes through fds: open_tree(2), mount_setattr(2), move_mount(2).
"""

from __future__ import annotations

import ctypes
import os

from corten.linux.syscalls import (
    NR_FSCONFIG,
    NR_FSMOUNT,
    NR_FSOPEN,
    NR_MOUNT_SETATTR,
    NR_MOVE_MOUNT,
    NR_OPEN_TREE,
    NR_PIVOT_ROOT,
    check,
    libc,
    syscall,
)

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25
MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_RECURSIVE = 0x8000
AT_EMPTY_PATH = 0x1000
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x00000001
MOUNT_ATTR_NOSUID = 0x00000002
MOUNT_ATTR_NODEV = 0x00000004
MOUNT_ATTR_NOEXEC = 0x00000008
MOUNT_ATTR__ATIME = 0x00000070
MOUNT_ATTR_NOATIME = 0x00000010
MOUNT_ATTR_STRICTATIME = 0x00000020
MOUNT_ATTR_NODIRATIME = 0x00000080
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

_mount = libc.mount
_mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_slow_mount = ctypes.CDLL(None, use_errno=True).mount  # CDLL gives the interpreter's lock away
_slow_mount.argtypes = _mount.argtypes
_umount2 = libc.umount2
_umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


def mount(
    source: str | bytes | None,
    target: str | bytes,
    fstype: str | None = None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """mount(2). The classic call; `target` must be a path that nobody hostile controls."""
    result = _mount(
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if fstype is None else fstype.encode(),
        flags,
        None if data is None else os.fsencode(data),
    )
    if result < 0:
        check(result, target)


def mount_slowly(source: str, target: str, fstype: str, flags: int = 0, data: str | None = None) -> None:
    """mount(2) of what may take seconds (a server, a disk): other threads go on meanwhile."""
    result = _slow_mount(
        os.fsencode(source),
        os.fsencode(target),
        fstype.encode(),
        flags,
        None if data is None else os.fsencode(data),
    )
    if result < 0:
        check(result, target)


def umount2(target: str | bytes, flags: int = 0) -> None:
    """umount2(2); MNT_DETACH unhooks now and cleans up when the last user is gone."""
    check(_umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """pivot_root(2). With both "." the old root ends up stacked below; umount2(".", MNT_DETACH) drops it."""
    syscall(NR_PIVOT_ROOT, new_root, put_old, what="pivot_root")


def open_tree(dirfd: int, path: str | bytes, flags: int) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a detached bind mount of `path` that only the fd holds."""
    name = os.fsencode(path)
    return syscall(
        NR_OPEN_TREE, ctypes.c_int(dirfd), name, ctypes.c_uint(flags | OPEN_TREE_CLOEXEC), what=name
    )


def open_readonly(path: str | bytes) -> int:
    """An O_PATH fd of `path` behind a read-only mount of its own that nobody else sees.

    Whoever gets at the file through it (/proc/PID/exe, /proc/PID/fd) can neither write to it nor change
    its mode or owner. The mount is detached; it lives as long as something is open or runs through it.
    """
    tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
    mount_setattr(tree, set_flags=MOUNT_ATTR_RDONLY)
    return tree


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the detached mount `from_fd` on top of the directory or file that `to_fd` (O_PATH) names."""
    syscall(
        NR_MOVE_MOUNT,
        ctypes.c_int(from_fd),
        b"",
        ctypes.c_int(to_fd),
        b"",
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
        what="move_mount",
    )


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def mount_setattr(
    fd: int,
    *,
    set_flags: int = 0,
    clear_flags: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
    recursive: bool = False,
) -> None:
    """mount_setattr(2) on the mount behind `fd` (Linux 5.12). Flags: MOUNT_ATTR_*, propagation: MS_*."""
    attr = _MountAttr(set_flags, clear_flags, propagation, userns_fd)
    syscall(
        NR_MOUNT_SETATTR,
        ctypes.c_int(fd),
        b"",
        ctypes.c_uint(AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)),
        ctypes.byref(attr),
        ctypes.c_size_t(ctypes.sizeof(attr)),
        what="mount_setattr",
    )


_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6


def fsmount(fstype: str, options: list[tuple[str, str | None]], attr_flags: int = 0) -> int:
    """A detached mount of a new file system: fsopen(2), fsconfig(2) per option, fsmount(2).

    `options`: (key, value) or (flag, None). Has none of mount(2)'s page-size limit on options.
    """
    context = syscall(NR_FSOPEN, fstype.encode(), ctypes.c_uint(1), what=f"fsopen {fstype}")
    try:
        for key, value in options:
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            text = None if value is None else os.fsencode(value)
            syscall(
                NR_FSCONFIG,
                ctypes.c_int(context),
                ctypes.c_uint(command),
                key.encode(),
                text,
                ctypes.c_int(0),
                what=f"{fstype} {key}",
            )
        syscall(
            NR_FSCONFIG,
            ctypes.c_int(context),
            ctypes.c_uint(_FSCONFIG_CMD_CREATE),
            None,
            None,
            ctypes.c_int(0),
            what=f"{fstype} create",
        )
        return syscall(
            NR_FSMOUNT, ctypes.c_int(context), ctypes.c_uint(1), ctypes.c_uint(attr_flags), what=fstype
        )
    finally:
        os.close(context)
