"""The builder's jobs for worker processes (signature: see `corten.snapshots.workers.nursery`).

A *tree* in `params` is {"directory": path} or {"lower": [paths, uppermost first]}; an *action* has the
fields of the actions in `graph` and their `type`. Paths in `params` are the engine's own.
"""

from __future__ import annotations

import gc
import os
import shutil
import stat
from collections.abc import Mapping
from typing import Any, TypeAlias

from corten.builder.ignore import IgnoreMatcher, read_ignore_file
from corten.builder.ops import simple
from corten.builder.ops.contenthash import content_digest
from corten.builder.ops.copying import CopyOptions, copy_sources
from corten.builder.ops.linkdigest import LinkDigest
from corten.builder.ops.mode import parse_mode
from corten.builder.ops.owner import parse_owner
from corten.builder.ops.recordedtar import LayerOfLinks
from corten.builder.ops.target import Target
from corten.builder.ops.tree import children, open_directory
from corten.builder.treeindex import KnownDigests
from corten.errors import InvalidParameter
from corten.linux.files import read_pieces
from corten.linux.openat2 import open_file_in_root, open_in_root
from corten.snapshots import stubs
from corten.snapshots.decompress import decompressed
from corten.snapshots.extract import ExtractOptions, Extractor
from corten.snapshots.overlay import enter_private_mounts, open_overlay
from corten.snapshots.tar_reader import TarReader

Params: TypeAlias = "dict[str, object]"
Json: TypeAlias = "Mapping[str, Any]"

_MAX_TEXT = 4 << 20  # of a Dockerfile or .dockerignore


def change_files(params: Json, fds: list[int], report: object) -> Params:
    """Apply `actions` to the overlay of `root` {lower, upper, work}. `inputs`: number → tree.

    Answers diff_id and size of the layer, if they have come to be known on the way.
    """
    os.umask(0)
    gc.disable()  # nothing of a tree's names is cyclic
    enter_private_mounts()
    root, mountpoint = params["root"], params["mountpoint"]
    inputs = {number: open_tree(tree, mountpoint) for number, tree in params["inputs"].items()}
    target = Target(root["lower"], root["upper"], root["work"], mountpoint)
    layer = None
    for action in params["actions"]:
        if action["type"] == "copy":
            layer = _copy(action, target, params, inputs)
        else:
            _ACTIONS[action["type"]](action, target.root)
    return {"diff_id": layer.diff_id, "size": layer.size} if layer else {}


def _copy(action: Json, target: Target, params: Json, inputs: Mapping[str, int]) -> LayerOfLinks | None:
    options = CopyOptions(
        owner=parse_owner(action["owner"], target.root) if action["owner"] else None,
        mode=parse_mode(action["mode"]) if action["mode"] else None,
        unpack=action["unpack"],
        parents=action["parents"],
        exclude=IgnoreMatcher(action["exclude"]),
        contents=action["contents"],
        follow=action["follow"],
        may_find_nothing=action["may_find_nothing"],
        needs_slash=action["needs_slash"],
        time_ns=action["time_ns"],
    )
    number = str(action["input"])
    tree, source = params["inputs"][number], inputs[number]
    index = tree.get("index", "") if len(params["actions"]) == 1 else ""
    with LinkDigest(source, target.upper, index) as digest:
        whole = copy_sources(
            source,
            action["sources"],
            target,
            action["destination"],
            options,
            linkable=tree.get("linkable", False),
            on_tree=digest.begin if index else None,
        )
        return digest.find() if whole else None


_ACTIONS = {
    "mkdir": simple.make_dir,
    "mkfile": simple.make_file,
    "symlink": simple.make_symlink,
    "remove": simple.remove,
}


def digest_sources(params: Json, fds: list[int], report: object) -> Params:
    """Answers `digest`: what `sources` (patterns) of `tree` hold."""
    gc.disable()
    enter_private_mounts()
    tree = open_tree(params["tree"], params["mountpoint"])
    digest = content_digest(
        tree,
        params["sources"],
        exclude=params["exclude"],
        double_star=params["parents"],
        follow=params["follow"],
        find=KnownDigests(params["tree"].get("index", "")).find,
    )
    return {"digest": digest}


def receive_context(params: Json, fds: list[int], report: object) -> Params:
    """fds: a tar, plain or compressed; an empty directory. Unpacks a context and does `prepare_context`.

    Everything belongs to root, as Docker has it. `apart`: directories in the tar that are no part of the
    context; each is moved to the name "context" in the directory of a further fd.
    """
    os.umask(0)
    source, target, *others = fds
    with Extractor(target, ExtractOptions(owner=(0, 0))) as extractor:
        extractor.extract(TarReader(decompressed(read_pieces(source))))
    for path, other in zip(params["apart"], others, strict=True):
        above, _, name = path.rpartition("/")
        parent = open_in_root(target, above or ".", os.O_RDONLY | os.O_DIRECTORY)
        os.rename(name, "context", src_dir_fd=parent, dst_dir_fd=other)
        os.close(parent)
        os.close(open_directory(other, "context"))  # a link in its place is no context
    return prepare_context(params, [target], report)


def prepare_context(params: Json, fds: list[int], report: object) -> Params:
    """fds: a context's directory. Removes what the context ignores.

    The Dockerfile named `dockerfile` is read before it may be removed too: answers its `text`, None if it is
    not there; and the `ignore` patterns.
    """
    (target,) = fds
    dockerfile = params["dockerfile"]
    text = _text(target, dockerfile)
    if text is None and dockerfile == "Dockerfile":
        text = _text(target, dockerfile.lower())
    ignored = _text(target, f"{dockerfile}.dockerignore")
    patterns = read_ignore_file((_text(target, ".dockerignore") if ignored is None else ignored) or "")
    if patterns:
        _remove_ignored(target, "", IgnoreMatcher(patterns))
    return {"text": text, "ignore": patterns}


def remove_tree(params: Json, fds: list[int], report: object) -> Params:
    """Remove the directory `path` and all below it; its mount points are of other namespaces."""
    shutil.rmtree(params["path"])
    return {}


def _text(root: int, path: str) -> str | None:
    """The content of a file of the context, whose symlinks stay inside it; None if there is none."""
    try:
        fd = open_file_in_root(root, path)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > _MAX_TEXT:
            raise InvalidParameter(f"{path} is larger than {_MAX_TEXT} bytes")
        return b"".join(read_pieces(fd)).decode(errors="replace")
    finally:
        os.close(fd)


def _remove_ignored(directory: int, path: str, matcher: IgnoreMatcher) -> None:
    for entry in children(directory, path):
        ignored = matcher.ignores(entry.path)
        if not entry.is_dir:
            if ignored:
                os.unlink(entry.name, dir_fd=directory)
            continue
        if ignored and matcher.ignores_all_below(entry.path):
            shutil.rmtree(entry.name, dir_fd=directory)
            continue
        child = open_directory(directory, entry.name)
        _remove_ignored(child, entry.path, matcher)
        os.close(child)
        if ignored and not _has_entries(directory, entry.name):
            os.rmdir(entry.name, dir_fd=directory)


def _has_entries(directory: int, name: str) -> bool:
    fd = open_directory(directory, name)
    try:
        return bool(os.listdir(fd))
    finally:
        os.close(fd)


def materialize(params: Json, fds: list[int], report: object) -> Params:
    """Copy `source` of `tree` to the name "source" in the directory `target`, with all its attributes."""
    os.umask(0)
    enter_private_mounts()
    tree = open_tree(params["tree"], params["mountpoint"])
    target = Target((), params["target"], "", "")
    copy_sources(tree, [params["source"]], target, "/source", CopyOptions(contents=False))
    return {}


def clamp_times(params: Json, fds: list[int], report: object) -> Params:
    """No file below `directory` is to be younger than `epoch_ns`, nor older if it is to be `exact`."""
    root = os.open(params["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _clamp(root, params["epoch_ns"], exact=bool(params.get("exact")))
    os.close(root)
    return {}


def _clamp(directory: int, epoch_ns: int, *, exact: bool) -> None:
    for entry in children(directory, ""):
        if entry.is_dir:
            child = open_directory(directory, entry.name)
            _clamp(child, epoch_ns, exact=exact)
            os.close(child)
        elif exact or entry.status.st_mtime_ns > epoch_ns:
            os.utime(entry.name, ns=(epoch_ns, epoch_ns), dir_fd=directory, follow_symlinks=False)
    if exact or os.fstat(directory).st_mtime_ns > epoch_ns:
        os.utime(directory, ns=(epoch_ns, epoch_ns))


def remove_stubs(params: Json, fds: list[int], report: object) -> Params:
    """Remove from `upper` what a runtime made to mount things on: `targets` that `lower` does not have."""
    enter_private_mounts()
    below = open_overlay(params["lower"], params["mountpoint"])
    upper = os.open(params["upper"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stubs.remove_stubs(upper, below, params["targets"])
    return {}


def open_tree(tree: Json, mountpoint: str) -> int:
    """An fd of a tree's root; of layers, an overlay in the worker's own mount namespace."""
    if "directory" in tree:
        return os.open(tree["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return open_overlay(tree["lower"], mountpoint)
