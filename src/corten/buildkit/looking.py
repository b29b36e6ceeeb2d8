"""Looking into the results of a build: what clients and frontends read of them (LLBBridge)."""

from __future__ import annotations

import base64

from corten.builder.blocking import run_job
from corten.builder.ops.step import tree_of
from corten.builder.results import Result
from corten.builder.session import Session
from corten.buildkit.gomode import to_go
from corten.buildkit.proto.files_pb2 import Stat
from corten.snapshots.workers import WorkerPool


class Looking:
    """One build's."""

    def __init__(self, session: Session, workers: WorkerPool) -> None:
        self._session = session
        self._workers = workers

    async def file(self, result: Result, path: str, offset: int = 0, length: int = -1) -> bytes:
        """A file's content, or a part of it. Raises NotFound, InvalidParameter."""
        answer = await self._ask("read_file", result, path, offset=offset, length=length)
        return base64.b64decode(str(answer["data"]))

    async def directory(self, result: Result, path: str, pattern: str) -> list[Stat]:
        """A directory's entries. Raises NotFound, InvalidParameter."""
        answer = await self._ask("read_directory", result, path, pattern=pattern)
        entries = answer["entries"]
        assert isinstance(entries, list)
        return [_stat(entry) for entry in entries]

    async def status(self, result: Result, path: str) -> Stat:
        """What a path is. Raises NotFound, InvalidParameter."""
        entry = (await self._ask("stat_file", result, path))["entry"]
        assert isinstance(entry, dict)
        return _stat(entry)

    async def _ask(self, job: str, result: Result, path: str, **more: object) -> dict[str, object]:
        params = {
            "tree": tree_of(self._session, result),
            "mountpoint": self._session.mountpoint,
            "path": path,
            **more,
        }
        return await run_job(self._workers, f"corten.builder.reading:{job}", params)


def _stat(entry: dict[str, int | str]) -> Stat:
    mode = int(entry.pop("mode"))
    return Stat(mode=to_go(mode), **entry)  # type: ignore[arg-type]
