"""What a path inside a root names, as `docker cp` asks for it."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import TypedDict

from corten.linux.openat2 import open_in_root, resolve_in_root
from corten.wire import archivepath
from corten.wire.gomode import to_go


class Found(TypedDict):
    """The fields of X-Docker-Container-Path-Stat."""

    name: str
    size: int
    mode: int
    mtime: str
    linkTarget: str


def look_up(root: int, path: str) -> tuple[Found, int]:
    """What `path` names, and an O_PATH fd of it. A link is followed only with a slash behind it.

    Raises OSError: ENOENT, ENOTDIR, ELOOP.
    """
    inside = archivepath.inside(path)
    fd = open_in_root(root, inside, os.O_PATH | os.O_NOFOLLOW)
    status = os.fstat(fd)
    is_link = stat.S_ISLNK(status.st_mode)
    found = Found(
        name=archivepath.base(path),
        size=status.st_size,
        mode=to_go(status.st_mode),
        mtime=_moment(status.st_mtime_ns),
        linkTarget=resolve_in_root(root, inside) if is_link else "",
    )
    return found, fd


def _moment(ns: int) -> str:
    """RFC 3339 with as many digits as there are, as Go writes it."""
    seconds, rest = divmod(ns, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
