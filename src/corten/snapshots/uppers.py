"""The writable directories of containers: overlayfs' upperdir and workdir."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath
from corten.snapshots import xattrs

_SMALL_ENTRIES = 200
_SMALL_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Upper:
    """A container's own directories; both absolute, on one file system."""

    upper: str
    work: str


def prepare(container_directory: str, lower: Sequence[str]) -> Upper:
    """Make upper/ and work/ below <root>/containers/<id> (which exists).

    The merged root directory shows the upperdir's owner and mode, so it gets those of the uppermost of
    `lower`. What is there already is kept.
    """
    paths = Upper(os.path.join(container_directory, "upper"), os.path.join(container_directory, "work"))
    os.makedirs(paths.work, mode=0o700, exist_ok=True)
    try:
        os.mkdir(paths.upper, 0o755)
    except FileExistsError:
        return paths
    status = os.stat(lower[0]) if lower else None
    os.chmod(paths.upper, stat.S_IMODE(status.st_mode) if status else 0o755)
    if status and (status.st_uid or status.st_gid):
        os.chown(paths.upper, status.st_uid, status.st_gid)
    return paths


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


def changes(upper: str, lower: Sequence[str]) -> list[tuple[str, int]]:
    """What a container changed: (path, kind) with Docker's kinds 0 modified, 1 added, 2 deleted; sorted.

    Read off the upperdir alone; `lower` (uppermost first) only tells modified from added.
    """
    layers = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in lower]
    found: list[tuple[str, int]] = []
    try:
        _walk_changes(upper, "", layers, found)
    finally:
        for fd in layers:
            os.close(fd)
    return sorted(found)


def _walk_changes(directory: str, prefix: str, layers: Sequence[int], found: list[tuple[str, int]]) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            status = entry.stat(follow_symlinks=False)
            if _is_whiteout(status):
                found.append((name, 2))
                continue
            found.append((name, 0 if _exists_below(name, layers) else 1))
            if stat.S_ISDIR(status.st_mode):
                _walk_changes(entry.path, name, () if _is_opaque(entry.path) else layers, found)


def _exists_below(name: str, layers: Sequence[int]) -> bool:
    """Whether one of the layers shows `name`: overlayfs merges directories, never through symlinks."""
    for layer in layers:
        try:
            fd = open_beneath(
                layer,
                name[1:],
                os.O_PATH | os.O_NOFOLLOW,
                resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
            )
        except FileNotFoundError:
            continue
        except OSError:
            return False  # a file or symlink on the way hides what is further below
        try:
            return not _is_whiteout(os.fstat(fd))
        finally:
            os.close(fd)
    return False


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, xattrs.OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
