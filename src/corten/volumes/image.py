"""Volumes of a limited size where the file system has no quotas: ext4 in a sparse file, mounted in use.

<root>/volumes/<name>/image appears whole, at the first use. It takes no more of the disk than was written. It
grows while it is mounted: that is the kernel's work, and journaled.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import ExitStack, suppress

from corten.errors import Conflict, InternalError, NotSupported
from corten.linux import ext4, loop
from corten.linux import mounts as m

IMAGE = "image"
"""File beside a volume's _data."""

_MAKE = "mkfs.ext4"
_PACKAGE = "e2fsprogs"
_REPAIRED = 1  # e2fsck(8): errors corrected; more is bad


def check_program(name: str) -> None:
    """Raise NotSupported where images cannot be made."""
    if shutil.which(_MAKE) is None:
        raise NotSupported(f"create {name}: a volume's size needs {_MAKE} (package {_PACKAGE}) on the host")


def mount_image(folder: str, size_bytes: int, target: str, owner: tuple[int, int] = (0, 0)) -> None:
    """Mount the image in the volume's folder, made for `owner` if it is not there, grown if it is smaller.

    Raises OSError, InternalError.
    """
    path = os.path.join(folder, IMAGE)
    if not os.path.exists(path):
        _make(path, size_bytes, owner)
    _mount(path, target)
    try:
        try:
            grow_mounted(folder, target, size_bytes)
        except PermissionError:
            m.umount2(target, m.MNT_DETACH)
            _grow_unmounted(path, size_bytes)
            _mount(path, target)
        _empty(target)
    except BaseException:
        with suppress(OSError):
            m.umount2(target, m.MNT_DETACH)
        raise


def _empty(target: str) -> None:
    """As a new volume is to be; fsck makes its directory when it needs it."""
    try:
        os.rmdir(os.path.join(target, "lost+found"))
    except OSError as e:
        if e.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.ENOTDIR):
            raise


def _mount(path: str, target: str) -> None:
    image = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        device, device_path = loop.attach(image)
    finally:
        os.close(image)
    try:
        m.mount_slowly(device_path, target, "ext4", m.MS_NOATIME)
    finally:
        os.close(device)


def _make(path: str, size_bytes: int, owner: tuple[int, int]) -> None:
    fresh = f"{path}.new"
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(fd, size_bytes)
        _run(_MAKE, "-q", "-F", "-m", "0", "-E", "nodiscard,root_owner={}:{}".format(*owner), fresh)
        os.fsync(fd)
        os.rename(fresh, path)
    finally:
        os.close(fd)


def check_growth(folder: str, name: str, size_bytes: int) -> None:
    """Raise Conflict if the image is larger than that: it cannot shrink while files are in it."""
    try:
        there = os.stat(os.path.join(folder, IMAGE)).st_size
    except FileNotFoundError:
        return
    if there > size_bytes:
        raise Conflict(f"update {name}: a volume in an image can only grow; it has {there} bytes")


def grow_mounted(folder: str, target: str, size_bytes: int) -> None:
    """Bring what is mounted to that size. Raises OSError: EPERM without CAP_SYS_RESOURCE, where it grows."""
    with ExitStack() as stack:
        mounted = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, mounted)
        device = loop.open_device(os.fstat(mounted).st_dev)
        stack.callback(os.close, device)
        blocks = size_bytes // os.fstatvfs(mounted).f_bsize
        if ext4.blocks(device) < blocks:
            image = os.path.join(folder, IMAGE)
            before = os.stat(image).st_size
            os.truncate(image, size_bytes)
            try:
                loop.take_new_size(device)
                ext4.grow(mounted, blocks)
            except OSError:
                os.truncate(image, before)
                loop.take_new_size(device)
                raise


def _grow_unmounted(path: str, size_bytes: int) -> None:
    """As resize2fs does it, for engines that may not have the kernel do it."""
    os.truncate(path, size_bytes)
    _run("e2fsck", "-f", "-p", path, fine=(0, _REPAIRED))
    _run("resize2fs", path)


def _run(program: str, *arguments: str, fine: tuple[int, ...] = (0,)) -> None:
    try:
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise NotSupported(f"{program} (package {_PACKAGE}) is not installed on the host") from None
    if done.returncode not in fine:
        raise InternalError(f"{program}: {done.stderr.decode(errors='replace').strip()}")
