"""Cache keys: names of work, by what it does and what it works on.

quick   the operation and the identities of its inputs; there is none if an input is a directory that
        nobody has looked into
slow    the operation and the content of what it copies or mounts, so that the same bytes from another
        clone, or from another stage, are the same work; a whole root that is mounted goes by its identity
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from corten.builder.blocking import run_blocking, run_job
from corten.builder.copies import escape_pattern
from corten.builder.graph import BindMount, CacheMount, CopyAction, Exec, File, op_digest
from corten.builder.ops.contenthash import content_digest
from corten.builder.ops.step import tree_of
from corten.builder.results import Directory, Result, Snapshot
from corten.builder.session import Session
from corten.digest import digest_of
from corten.snapshots.workers import WorkerPool


def quick_key(session: Session, op: Exec | File, inputs: Sequence[Result]) -> str:
    """The quick key, or ""."""
    identities = [result.identity for result in inputs]
    return op_digest(op, [*identities, *_settings(session, op)]) if all(identities) else ""


def output_keys(keys: Sequence[str], number: int) -> list[str]:
    """Those of what a command leaves in its `number`th kept mount, by those of the command; 0 = its root."""
    return [digest_of(f"{key} output {number}".encode()) for key in keys] if number else list(keys)


def _settings(session: Session, op: Exec | File) -> list[str]:
    """Those that make other layers: clamped times, and what commands are run with."""
    epoch_ns = session.settings.epoch_ns
    times = [] if epoch_ns is None else [f"times up to {epoch_ns}"]
    return [*times, *session.settings.circumstances] if isinstance(op, Exec) else times


def has_slow_key(op: Exec | File) -> bool:
    """Whether the same work may have another quick key: it takes a part of its inputs only."""
    return isinstance(op, File) or any(
        isinstance(mount, BindMount) and mount.source != "/" for mount in op.mounts
    )


async def slow_key(session: Session, workers: WorkerPool, op: Exec | File, inputs: Sequence[Result]) -> str:
    """The slow key; reads all that is copied or mounted."""
    root = inputs[0]
    assert isinstance(root, Snapshot)
    identities: list[str] = [root.identity, *_settings(session, op)]
    for action in _looked_at(op):
        taken = inputs[action.input]
        if isinstance(op, Exec) and isinstance(taken, Snapshot) and action.sources == ("/",):
            identities.append(taken.identity)
        else:
            identities.append(await _content(session, workers, taken, action))
    return op_digest(op, identities)


def _looked_at(op: Exec | File) -> list[CopyAction]:
    """What the operation takes from its inputs but the root; a mount of files like a copy of them."""
    if isinstance(op, File):
        return [action for action in op.actions if isinstance(action, CopyAction)]
    return [
        _as_copy(mount.input, mount.source)
        for mount in op.mounts
        if isinstance(mount, BindMount | CacheMount) and mount.input is not None
    ]


def _as_copy(input: int, source: str) -> CopyAction:
    return CopyAction(input=input, sources=(escape_pattern(source),), destination="/")


async def mounted_content(session: Session, workers: WorkerPool, result: Result, source: str) -> str:
    """A name for what `source` of a result holds; that of a directory is read if it has no identity."""
    if result.identity:
        return digest_of(f"{result.identity} {source}".encode())
    return await _content(session, workers, result, _as_copy(0, source))


async def _content(session: Session, workers: WorkerPool, result: Result, action: CopyAction) -> str:
    if isinstance(result, Directory) and result.small:
        # A worker process takes longer to begin than this to end.
        return await run_blocking(lambda: _small_content(result.path, action))
    params = {
        "tree": tree_of(session, result),
        "mountpoint": session.mountpoint,
        "sources": action.sources,
        "exclude": action.exclude,
        "parents": action.parents,
        "follow": action.follow,
    }
    answer = await run_job(workers, "corten.builder.jobs:digest_sources", params)
    return str(answer["digest"])


def _small_content(path: str, action: CopyAction) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return content_digest(
            fd, action.sources, exclude=action.exclude, double_star=action.parents, follow=action.follow
        )
    finally:
        os.close(fd)
