"""The writable directories of containers: overlayfs' upperdir and workdir."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass

_SMALL_ENTRIES = 200
_SMALL_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Upper:
    """A container's own directories; both absolute, on one file system."""

    upper: str
    work: str


def of(container_directory: str) -> Upper:
    """Of the container at <root>/containers/<id>."""
    return Upper(os.path.join(container_directory, "upper"), os.path.join(container_directory, "work"))


def prepare(container_directory: str, lower: Sequence[str]) -> Upper:
    """Make upper/ and work/ below <root>/containers/<id> (which exists).

    The merged root directory shows the upperdir's owner and mode, so it gets those of the uppermost of
    `lower`. What is there already is kept.
    """
    paths = of(container_directory)
    with contextlib.suppress(FileExistsError):
        os.mkdir(paths.work, 0o700)
    try:
        os.mkdir(paths.upper, 0o755)
    except FileExistsError:
        return paths
    status = os.stat(lower[0]) if lower else None
    os.chmod(paths.upper, stat.S_IMODE(status.st_mode) if status else 0o755)
    if status and (status.st_uid or status.st_gid):
        os.chown(paths.upper, status.st_uid, status.st_gid)
    return paths


def allow_remount(container_directory: str) -> None:
    """Let a `volatile` overlay be mounted again, which the kernel forbids for fear of a crash in between.

    Source: Documentation/filesystems/overlayfs.rst, "Volatile mount".
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(os.path.join(container_directory, "work/work/incompat"))


def is_small(directory: str) -> bool:
    """Whether reading the tree here is cheaper than handing it to a worker process."""
    entries = size = 0
    waiting = [directory]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for entry in found:
                entries += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
                if entries > _SMALL_ENTRIES or size > _SMALL_BYTES:
                    return False
    return True
