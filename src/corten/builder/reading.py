"""Worker jobs that look into a result: a file, a directory's entries, what is known of a file.

A *tree* is as in `builder.jobs`. Paths are resolved by the kernel inside it; symlinks are followed there.
"""

from __future__ import annotations

import base64
import fnmatch
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from corten.builder.jobs import open_tree
from corten.builder.ops.tree import Entry, children
from corten.errors import InvalidParameter, NotFound
from corten.linux.openat2 import open_file_in_root, open_in_root
from corten.snapshots.overlay import enter_private_mounts

Params: TypeAlias = "dict[str, Any]"

_MAX_FILE = 15 << 20  # what one message holds
_MAX_ENTRIES = 100_000


def read_file(params: Params, fds: list[int], report: object) -> Params:
    """Answers `data` (base64) of `path`: `length` bytes from `offset` on, -1 = all of them."""
    fd = _opened(params, open_file_in_root)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidParameter(f"read {params['path']}: is no regular file")
        file.seek(params["offset"])
        limit = params["length"] if params["length"] >= 0 else _MAX_FILE + 1
        data = file.read(min(limit, _MAX_FILE + 1))
    if len(data) > _MAX_FILE:
        raise InvalidParameter(f"{params['path']} is larger than {_MAX_FILE} bytes: read it in parts")
    return {"data": base64.b64encode(data).decode()}


def read_directory(params: Params, fds: list[int], report: object) -> Params:
    """Answers `entries` of the directory `path`, of those that `pattern` matches ("" = all)."""
    fd = _opened(params, _open_directory)
    try:
        found = [
            _described(entry)
            for entry in children(fd, "")
            if not params["pattern"] or fnmatch.fnmatchcase(entry.name, params["pattern"])
        ]
    finally:
        os.close(fd)
    if len(found) > _MAX_ENTRIES:
        raise InvalidParameter(f"{params['path']} has more than {_MAX_ENTRIES} entries")
    return {"entries": found}


def stat_file(params: Params, fds: list[int], report: object) -> Params:
    """Answers `entry`: what `path` is; a symlink is looked at itself."""
    above, _, name = params["path"].rstrip("/").rpartition("/")
    parent = _opened({**params, "path": above or "/"}, _open_directory)
    try:
        status = os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
        return {"entry": _described(Entry(parent, name or "/", name, status))}
    except FileNotFoundError:
        raise _missing(params) from None
    finally:
        os.close(parent)


def _open_directory(root: int, path: str) -> int:
    return open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)


def _opened(params: Mapping[str, Any], opener: Callable[[int, str], int]) -> int:
    enter_private_mounts()
    tree = open_tree(params["tree"], params["mountpoint"])
    try:
        return opener(tree, params["path"] or "/")
    except FileNotFoundError:
        raise _missing(params) from None
    except OSError as error:
        raise InvalidParameter(f"open {params['path']}: {(error.strerror or '').lower()}") from error
    finally:
        os.close(tree)


def _missing(params: Mapping[str, Any]) -> NotFound:
    return NotFound(f"open {params['path']}: no such file or directory")


def _described(entry: Entry) -> dict[str, object]:
    status = entry.status
    is_link = stat.S_ISLNK(status.st_mode)
    return {
        "path": entry.name,
        "mode": status.st_mode,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "link": os.readlink(entry.name, dir_fd=entry.parent) if is_link else "",
    }
