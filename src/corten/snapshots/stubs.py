"""What a runtime leaves in an upperdir only to mount things on: no change that anybody made."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from corten.linux.openat2 import open_in_root

RUNTIME_TARGETS = (
    *("/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/console"),  # noqa: S108
    *("/sys/fs/cgroup", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"),
)
"""What is mounted in every container."""


def remove_stubs(upper: int, below: int, targets: Sequence[str]) -> None:
    """Remove `targets` that the root `below` does not have from the directory `upper`.

    Only what is still empty goes. Directories above them that hold nothing else and that `below` has not,
    or has just so, go too.
    """
    for target in sorted(targets, key=len, reverse=True):
        parts = [part for part in target.split("/") if part]
        while parts and _removed(upper, below, parts):
            parts.pop()


def _removed(upper: int, below: int, parts: list[str]) -> bool:
    path = "/".join(parts)
    try:
        parent = open_in_root(upper, "/".join(parts[:-1]) or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        if not is_stub(status, status_in(below, path)):
            return False
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(parts[-1], dir_fd=parent)  # fails if anything is in it
        else:
            os.unlink(parts[-1], dir_fd=parent)
    except OSError:
        return False
    finally:
        os.close(parent)
    return True


def is_stub(status: os.stat_result, original: os.stat_result | None) -> bool:
    """Whether a file may have been made to be mounted on: empty and new, or a directory that is as it was."""
    if stat.S_ISDIR(status.st_mode):
        return original is None or _attributes(original) == _attributes(status)
    return stat.S_ISREG(status.st_mode) and status.st_size == 0 and original is None


def status_in(root: int, path: str) -> os.stat_result | None:
    """The status of what a path names in a root, links not followed at its end; None if there is nothing."""
    try:
        fd = open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _attributes(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid
