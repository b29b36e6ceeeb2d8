"""Looking into results and containers of a build: what clients and frontends read of them (LLBBridge)."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from corten.builder.blocking import run_job
from corten.builder.ops.step import tree_of
from corten.builder.results import Result
from corten.builder.session import Session
from corten.buildkit.proto.files_pb2 import Stat
from corten.snapshots.workers import WorkerPool
from corten.wire.gomode import to_go


class _Entry(msgspec.Struct):
    """What `corten.builder.reading` answers of a file; `mode` is the kernel's."""

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: str


Tree: TypeAlias = Mapping[str, object]
"""Files as the jobs of `builder.jobs` take them."""


class Looking:
    """One build's."""

    def __init__(self, session: Session, workers: WorkerPool) -> None:
        self._session = session
        self._workers = workers

    def tree(self, result: Result) -> Tree:
        """What a vertex has given, to be looked into."""
        return tree_of(self._session, result)

    async def file(self, tree: Tree, path: str, offset: int = 0, length: int = -1) -> bytes:
        """A file's content, or a part of it. Raises NotFound, InvalidParameter."""
        answer = await self._ask("read_file", tree, path, offset=offset, length=length)
        return base64.b64decode(str(answer["data"]))

    async def directory(self, tree: Tree, path: str, pattern: str) -> list[Stat]:
        """A directory's entries. Raises NotFound, InvalidParameter."""
        answer = await self._ask("read_directory", tree, path, pattern=pattern)
        return [_stat(entry) for entry in msgspec.convert(answer["entries"], list[_Entry])]

    async def status(self, tree: Tree, path: str) -> Stat:
        """What a path is. Raises NotFound, InvalidParameter."""
        answer = await self._ask("stat_file", tree, path)
        return _stat(msgspec.convert(answer["entry"], _Entry))

    async def _ask(self, job: str, tree: Tree, path: str, **more: object) -> dict[str, object]:
        params = {
            "tree": tree,
            "mountpoint": self._session.mountpoint,
            "path": path,
            **more,
        }
        return await run_job(self._workers, f"corten.builder.reading:{job}", params)


def _stat(entry: _Entry) -> Stat:
    return Stat(
        path=os.fsencode(entry.path),
        mode=to_go(entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime_ns=entry.mtime_ns,
        link=os.fsencode(entry.link),
    )
