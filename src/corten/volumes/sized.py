"""Volumes of a limited size: a sparse file with ext4 in it, mounted while the volume is used.

<root>/volumes/<name>/image appears whole, at the first use. It takes no more of the disk than was written.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess

from corten.errors import InternalError, InvalidParameter, NotSupported
from corten.linux import loop
from corten.linux import mounts as m
from corten.units import parse_binary_size

IMAGE = "image"
"""File beside a volume's _data."""

_PROGRAM = "mkfs.ext4"
_LEAST_BYTES = 4 << 20


def check_size(name: str, text: str) -> None:
    """Raise InvalidParameter for what is no size, NotSupported where there is no mkfs.ext4."""
    if _bytes_of(name, text) < _LEAST_BYTES:
        raise InvalidParameter(f"create {name}: size is too small, the least is 4m")
    if shutil.which(_PROGRAM) is None:
        raise NotSupported(f"create {name}: a volume's size needs {_PROGRAM} (package e2fsprogs) on the host")


def _bytes_of(name: str, text: str) -> int:
    try:
        return parse_binary_size(text)
    except ValueError as e:
        raise InvalidParameter(f"create {name}: {e}") from e


def mount_image(folder: str, size: str, target: str, owner: tuple[int, int] = (0, 0)) -> None:
    """Mount the image in the volume's folder, made for `owner` if it is not there yet.

    Raises OSError, InternalError.
    """
    path = os.path.join(folder, IMAGE)
    if not os.path.exists(path):
        _make(path, _bytes_of(os.path.basename(folder), size), owner)
    image = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        device, device_path = loop.attach(image)
    finally:
        os.close(image)
    try:
        m.mount_slowly(device_path, target, "ext4", m.MS_NOATIME)
    finally:
        os.close(device)
    try:
        os.rmdir(os.path.join(target, "lost+found"))  # a new volume is empty; fsck makes it when it needs it
    except OSError as e:
        if e.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.ENOTDIR):
            raise


def _make(path: str, size_bytes: int, owner: tuple[int, int]) -> None:
    fresh = f"{path}.new"
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(fd, size_bytes)
        command = [_PROGRAM, "-q", "-F", "-m", "0", "-E", "nodiscard,root_owner={}:{}".format(*owner), fresh]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise InternalError(f"{_PROGRAM}: {done.stderr.decode(errors='replace').strip()}")
        os.fsync(fd)
        os.rename(fresh, path)
    finally:
        os.close(fd)
