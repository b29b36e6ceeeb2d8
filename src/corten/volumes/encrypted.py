"""Encrypted volumes: gocryptfs (a Debian package, over FUSE) between containers and the disk.

<root>/volumes/<name>/cipher has what the disk shall see; it appears whole, at the first use. One process of
gocryptfs a mounted volume: it outlives the engine, and ends with its mount. It gets the key through a pipe.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess

from corten.errors import NotSupported
from corten.linux.syncfs import syncfs
from corten.volumes.keys import check_source, read_key

CIPHER = "cipher"
"""Directory beside a volume's _data."""

_PROGRAM = "gocryptfs"
_DEVICE = "/dev/fuse"
_WRONG_KEY = 12  # exit code; from its manual, as are the options
_INIT = ("-init", "-q")
_MOUNT = ("-q", "-allow_other", "-nosyslog", "-fsname", _PROGRAM)  # its name, not the path: containers see it


def check_encryption(name: str, source: str) -> None:
    """Raise NotSupported where the host lacks something, InvalidParameter for a bad key."""
    for program, package in ((_PROGRAM, _PROGRAM), ("fusermount", "fuse3")):
        if shutil.which(program) is None:
            raise NotSupported(
                f"create {name}: an encrypted volume needs {program} (package {package}) on the host"
            )
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        raise NotSupported(
            f"create {name}: an encrypted volume needs FUSE: {_DEVICE}: {(e.strerror or '').lower()}"
        ) from e
    check_source(name, source)


def mount_encrypted(folder: str, source: str, target: str, owner: tuple[int, int] = (0, 0)) -> None:
    """Mount what is in the volume's folder, made for `owner` if it is not there yet. Raises OSError."""
    key = read_key(os.path.basename(folder), source)
    cipher = os.path.join(folder, CIPHER)
    if not os.path.exists(cipher):
        _make(cipher, key, owner)
    _run(key, *_MOUNT, "--", cipher, target)


def is_dead(target: str) -> bool:
    """Whether something is mounted whose process has ended."""
    try:
        os.statvfs(target)  # never answered from a cache
    except OSError as e:
        return e.errno == errno.ENOTCONN
    return False


def _make(cipher: str, key: bytes, owner: tuple[int, int]) -> None:
    fresh = f"{cipher}.new"
    if os.path.exists(fresh):  # cut short
        shutil.rmtree(fresh)
    os.mkdir(fresh, 0o755)  # what the volume's own directory shows
    os.chown(fresh, *owner)
    _run(key, *_INIT, "--", fresh)
    fd = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
    os.rename(fresh, cipher)


def _run(key: bytes, *arguments: str) -> None:
    """Its words go to memory that cannot be written to later: it may run for long, and say much."""
    words = os.memfd_create(_PROGRAM, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        done = subprocess.run(
            [_PROGRAM, *arguments],
            input=key,
            stdout=subprocess.DEVNULL,
            stderr=words,
            cwd="/",
            check=False,
        )
        fcntl.fcntl(words, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        said = os.pread(words, 4096, 0).decode(errors="replace").strip()
    except FileNotFoundError:
        raise OSError(errno.ENOENT, f"{_PROGRAM} is not installed on the host") from None
    finally:
        os.close(words)
    if done.returncode == _WRONG_KEY:
        raise OSError(errno.EKEYREJECTED, "wrong key")
    if done.returncode:
        last = said.rpartition("\n")[2] or f"exit code {done.returncode}"
        raise OSError(errno.EIO, f"{_PROGRAM}: {last}")
