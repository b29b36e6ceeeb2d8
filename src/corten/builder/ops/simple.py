"""File operations without a source: a file whose content stands in the graph, a symlink, a removal.

Paths are resolved by the kernel inside the root; the last component is never followed.
"""

from __future__ import annotations

import base64
import os
import posixpath
import shutil
import stat
from collections.abc import Mapping
from typing import Any, TypeAlias

from corten.builder.ops.copying import make_directory
from corten.builder.ops.glob import find_sources
from corten.builder.ops.owner import parse_owner
from corten.errors import InvalidParameter
from corten.linux.openat2 import open_in_root

Json: TypeAlias = "Mapping[str, Any]"

_DIR = os.O_RDONLY | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_dir(action: Json, root: int) -> None:
    """See `graph.MkdirAction`."""
    owner = _owner(action, root)
    if not action["parents"]:
        parent, name = _existing_parent(root, action["path"])
        try:
            if not name or _exists(parent, name):
                return
        finally:
            os.close(parent)
    fd = make_directory(root, action["path"], owner, action["mode"])
    try:
        _set_time(fd, action)
    finally:
        os.close(fd)


def make_file(action: Json, root: int) -> None:
    """See `graph.MkfileAction`. What is there under this name is replaced, unless it is a directory."""
    owner = _owner(action, root) or (0, 0)
    parent, name = _existing_parent(root, action["path"])
    try:
        _make_room(parent, name, action["path"])
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        with os.fdopen(fd, "wb") as file:
            file.write(base64.b64decode(action["content"]))
            file.flush()
            os.fchown(fd, *owner)
            os.fchmod(fd, action["mode"])
            _set_time(fd, action)
    finally:
        os.close(parent)


def make_symlink(action: Json, root: int) -> None:
    """See `graph.SymlinkAction`."""
    owner = _owner(action, root) or (0, 0)
    parent, name = _existing_parent(root, action["path"])
    try:
        _make_room(parent, name, action["path"])
        os.symlink(action["target"], name, dir_fd=parent)
        os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        if action["time_ns"] is not None:
            times = (action["time_ns"], action["time_ns"])
            os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def remove(action: Json, root: int) -> None:
    """See `graph.RemoveAction`."""
    paths = find_sources(root, action["path"], follow=False) if action["wildcard"] else [action["path"]]
    for path in paths:
        try:
            parent, name = _parent(root, path)
        except FileNotFoundError:
            if action["missing_ok"] or action["wildcard"]:
                continue
            raise _missing(path) from None
        try:
            _remove(parent, name, path, action)
        finally:
            os.close(parent)


def _remove(parent: int, name: str, path: str, action: Json) -> None:
    if not name:
        raise InvalidParameter("cannot remove the root")
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        if action["missing_ok"] or action["wildcard"]:
            return
        raise _missing(path) from None
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)


def _missing(path: str) -> InvalidParameter:
    return InvalidParameter(f"rm {path}: no such file or directory")


def _parent(root: int, path: str) -> tuple[int, str]:
    """The directory of a path, open, and the name in it. Raises FileNotFoundError."""
    above, _, name = posixpath.normpath(f"//{path}")[1:].rpartition("/")
    return open_in_root(root, above or "/", _DIR), name


def _existing_parent(root: int, path: str) -> tuple[int, str]:
    """As `_parent`. Raises InvalidParameter."""
    try:
        return _parent(root, path)
    except OSError as error:
        raise InvalidParameter(f"{path}: {(error.strerror or '').lower()}") from error


def _exists(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_room(parent: int, name: str, path: str) -> None:
    if not name:
        raise InvalidParameter(f"cannot make a file at {path}")
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        raise InvalidParameter(f"cannot replace directory {path}") from None


def _owner(action: Json, root: int) -> tuple[int, int] | None:
    return parse_owner(action["owner"], root) if action["owner"] else None


def _set_time(fd: int, action: Json) -> None:
    if action["time_ns"] is not None:
        os.utime(fd, ns=(action["time_ns"], action["time_ns"]))
