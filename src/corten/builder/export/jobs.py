"""The worker jobs of exports to files (signature: see `corten.snapshots.workers.nursery`).

The trees are results of builds: nothing in them is followed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from corten.builder.ops.tree import Entry, children, open_directory
from corten.errors import InvalidParameter
from corten.linux.files import write_all

Params: TypeAlias = "dict[str, Any]"

_READ = 1 << 20
_MAX_SUBJECTS = 50_000  # of a statement: what is larger nobody reads


def digests(params: Params, fds: list[int], report: object) -> Params:
    """fds: output. Writes (path, sha256) of all regular files below `directory` as MessagePack."""
    root = os.open(params["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    found = []
    for entry in _files(root, ""):
        found.append((os.fsencode(entry.path).decode(errors="replace"), _digest(entry)))
        if len(found) > _MAX_SUBJECTS:
            raise InvalidParameter(f"files beyond {_MAX_SUBJECTS} are not attested one by one")
    write_all(fds[0], msgspec.msgpack.encode(found))
    return {}


def _files(directory: int, path: str) -> Iterator[Entry]:
    for entry in children(directory, path):
        if entry.is_dir:
            child = open_directory(directory, entry.name)
            try:
                yield from _files(child, entry.path)
            finally:
                os.close(child)
        elif stat.S_ISREG(entry.status.st_mode):
            yield entry


def _digest(entry: Entry) -> str:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(entry.name, flags, dir_fd=entry.parent)
    try:
        sha256 = hashlib.sha256()
        while data := os.read(fd, _READ):
            sha256.update(data)
        return sha256.hexdigest()
    finally:
        os.close(fd)


def merge(params: Params, fds: list[int], report: object) -> Params:
    """Move all that is below `sources` into `target`, directories of the same name together."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    target = os.open(params["target"], flags)
    for source in params["sources"]:
        _merge(os.open(source, flags), target, "")
    return {}


def _merge(source: int, target: int, path: str) -> None:
    for entry in list(children(source, path)):
        try:
            there = os.stat(entry.name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(entry.name, entry.name, src_dir_fd=source, dst_dir_fd=target)
            continue
        if not (entry.is_dir and stat.S_ISDIR(there.st_mode)):
            raise InvalidParameter(
                f"cannot overwrite {entry.path} of another platform when split option is disabled"
            )
        inner, below = open_directory(source, entry.name), open_directory(target, entry.name)
        try:
            _merge(inner, below, entry.path)
        finally:
            os.close(inner)
            os.close(below)
