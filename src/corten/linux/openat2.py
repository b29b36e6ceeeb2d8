"""openat2(2): opening paths that somebody hostile may have prepared.

A path inside a container or an unpacked layer is never handed to open(2) as a string: it is resolved
by the kernel below a directory fd, with `resolve` saying what it may pass through.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from corten.linux.syscalls import NR_OPENAT2, fail

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_MAX_LINKS = 255


# A syscall(2) of its own, with types declared: this is the call a container's set-up makes most.
_openat2 = ctypes.PyDLL(None, use_errno=True).syscall
_openat2.restype = ctypes.c_long
_openat2.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_SIZE = ctypes.sizeof(_OpenHow)


def open_beneath(
    dirfd: int,
    path: str | bytes,
    flags: int = os.O_RDONLY,
    mode: int = 0,
    *,
    resolve: int = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
) -> int:
    """Open `path` below `dirfd`; the result is close-on-exec.

    With RESOLVE_IN_ROOT an absolute path or symlink starts at `dirfd`, as after chroot(2); with
    RESOLVE_BENEATH leaving it is EXDEV. EAGAIN (a rename raced with the walk) is retried.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    address = ctypes.addressof(how)
    name = os.fsencode(path)
    for _ in range(128):
        fd = int(_openat2(NR_OPENAT2, dirfd, name, address, _HOW_SIZE))
        if fd >= 0:
            return fd
        if ctypes.get_errno() != errno.EAGAIN:
            fail(name)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(path))


def open_in_root(rootfd: int, path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """Open `path` as a process chrooted to `rootfd` would, magic links refused."""
    return open_beneath(rootfd, path, flags, mode, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_file_in_root(rootfd: int, path: str | bytes) -> int:
    """Open a regular file or a directory for reading, as `open_in_root`; anything else gives an O_PATH fd.

    What an image brings may be a device of the host's, and to open one is enough for many drivers to act.
    """
    found = open_in_root(rootfd, path, os.O_PATH)
    if stat.S_IFMT(os.fstat(found).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        return found
    try:
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)


def resolve_in_root(rootfd: int, path: str) -> str:
    """The absolute path without links; what does not exist stays as it is named."""
    waiting = [part for part in reversed(path.split("/")) if part]
    resolved: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part == ".":
            continue
        if part == "..":
            del resolved[-1:]
            continue
        target = _link_target(rootfd, "/".join([*resolved, part]))
        if target is None:
            resolved.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            break
        if target.startswith("/"):
            resolved.clear()
        waiting.extend(part for part in reversed(target.split("/")) if part)
    return "/" + "/".join(resolved)


def _link_target(rootfd: int, path: str) -> str | None:
    try:
        fd = open_in_root(rootfd, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def make_dirs_in_root(rootfd: int, path: str, mode: int = 0o755) -> int:
    """mkdir -p below `rootfd`, following its own symlinks inside it; returns an O_PATH fd of the last one.

    Raises ENOTDIR when a component is no directory.
    """
    current = os.dup(rootfd)
    walked = ""
    try:
        for part in path.split("/"):
            if part in ("", "."):
                continue
            walked = f"{walked}/{part}"
            try:
                child = open_in_root(rootfd, walked, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                parent_is_real = stat.S_ISDIR(os.fstat(current).st_mode)
                if not parent_is_real or part == "..":
                    raise
                try:
                    os.mkdir(part, mode, dir_fd=current)
                except FileExistsError:
                    # A dangling symlink or somebody quicker than us: the open below tells which.
                    pass
                child = open_in_root(rootfd, walked, os.O_PATH | os.O_DIRECTORY)
            os.close(current)
            current = child
        return current
    except BaseException:
        os.close(current)
        raise
