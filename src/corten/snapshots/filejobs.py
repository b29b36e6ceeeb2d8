"""Jobs on the files of one container, for worker processes (signature: see `workers.nursery`).

`params["view"]` is a `view.View`; the last fd, if there is one more than said, is the mount namespace of a
running container. Jobs that write to a pipe are as fast as its reader.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from corten.errors import Forbidden, InvalidParameter
from corten.linux.files import read_pieces, write_all
from corten.linux.openat2 import open_in_root, resolve_in_root
from corten.snapshots import stubs
from corten.snapshots.archive import TreeArchiver
from corten.snapshots.buffer import Buffer
from corten.snapshots.changes import changes
from corten.snapshots.decompress import decompressed
from corten.snapshots.difference import difference
from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.lookup import look_up
from corten.snapshots.overlay import enter_private_mounts, open_overlay
from corten.snapshots.tar_reader import TarReader
from corten.snapshots.tar_writer import TarWriter
from corten.snapshots.view import View, mount_of, open_root, open_view
from corten.wire import archivepath

Params: TypeAlias = "dict[str, Any]"
Report: TypeAlias = Callable[[Params], None]

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def stat_path(params: Params, fds: list[int], report: Report) -> Params:
    """fds: []. Answers what `path` names (`lookup.Found`). Raises OSError."""
    root = open_view(params["view"], *_namespace(fds, 0))
    return dict(look_up(root, params["path"])[0])


def read_path(params: Params, fds: list[int], report: Report) -> Params:
    """fds: output. Writes `path` as a tar whose names begin with its last part.

    Progress, once and before the first byte: what the path names. Raises OSError.
    """
    root = open_view(params["view"], *_namespace(fds, 1))
    path = params["path"]
    found, fd = look_up(root, path)
    report(dict(found))
    buffer = Buffer(lambda data: write_all(fds[0], data))
    writer = TarWriter(buffer.write)
    archiver = TreeArchiver(writer)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        name = os.fsencode(archivepath.base(archivepath.inside(path)))
        archiver.add_tree(os.open(".", _DIR, dir_fd=fd), name)
    else:
        directory, name_inside = archivepath.split(archivepath.inside(path))
        name = os.fsencode(name_inside)
        archiver.add(open_in_root(root, directory, _DIR), name, name)
    writer.close()
    buffer.flush()
    return {}


def write_path(params: Params, fds: list[int], report: Report) -> Params:
    """fds: a tar, plain or compressed. Unpacks it into the directory `path`.

    params: owner ([uid, gid] or None), keep_types, readonly_root.
    Raises Forbidden, InvalidParameter, OSError.
    """
    os.umask(0)
    view: View = params["view"]
    root = open_view(view, *_namespace(fds, 1), writable=True)
    inside = archivepath.inside(params["path"])
    if not stat.S_ISDIR(os.fstat(open_in_root(root, inside, os.O_PATH)).st_mode):
        raise InvalidParameter("extraction point is not a directory")
    target = resolve_in_root(root, inside)
    mount = mount_of(view, target)
    if mount is not None and mount["read_only"]:
        raise Forbidden("mounted volume is marked read-only")
    if mount is None and params["readonly_root"]:
        raise Forbidden("container rootfs is marked read-only")
    options = ExtractOptions(
        owner=tuple(params["owner"]) if params["owner"] else None,
        keep_types=params["keep_types"],
        below=os.fsencode(target.strip("/")),
    )
    with Extractor(os.open(".", _DIR, dir_fd=root), options) as extractor:
        extractor.extract(TarReader(decompressed(read_pieces(fds[0]))))
    return {}


def export(params: Params, fds: list[int], report: Report) -> Params:
    """fds: output. Writes the root, without mounts, as a tar. Progress, once: it begins."""
    root = open_root(params["view"], *_namespace(fds, 1))
    report({})
    buffer = Buffer(lambda data: write_all(fds[0], data))
    writer = TarWriter(buffer.write)
    TreeArchiver(writer).add_tree(os.open(".", _DIR, dir_fd=root))
    writer.close()
    buffer.flush()
    return {}


def list_changes(params: Params, fds: list[int], report: Report) -> Params:
    """fds: output. Writes what the container changed, as the API's JSON list. Progress, once: it begins."""
    view: View = params["view"]
    upper = os.open(view["upper"], _DIR)
    layers = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in view["lower"]]
    report({})
    _write_changes(changes(upper, layers), fds[0])
    return {}


def list_difference(params: Params, fds: list[int], report: Report) -> Params:
    """fds: output. As list_changes, between two images: `old` and `new` are their layers, uppermost first."""
    enter_private_mounts()
    old, new = (open_overlay(params[which], params["mountpoint"]) for which in ("old", "new"))
    report({})
    _write_changes(difference(old, new), fds[0])
    return {}


def _write_changes(found: Iterable[tuple[str, int]], fd: int) -> None:
    buffer = Buffer(lambda data: write_all(fd, data))
    separator = b"["
    for path, kind in found:
        shown = os.fsencode(path).decode("utf-8", "replace")
        buffer.write(separator + json.dumps({"Path": shown, "Kind": kind}, separators=(",", ":")).encode())
        separator = b","
    buffer.write(b"]\n" if separator == b"," else b"null\n")
    buffer.flush()


def clean_changes(params: Params, fds: list[int], report: Report) -> Params:
    """fds: a copy of the upperdir. Removes from it what the runtime made only to mount things on."""
    view: View = params["view"]
    enter_private_mounts()
    stubs.remove_stubs(fds[0], open_overlay(view["lower"], view["mountpoint"]), stubs.RUNTIME_TARGETS)
    return {}


def _namespace(fds: list[int], used: int) -> tuple[int | None]:
    return (fds[used] if len(fds) > used else None,)
