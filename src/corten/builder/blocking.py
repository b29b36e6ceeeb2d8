"""Blocking work from the event loop: worker processes that a cancelled build does not leave behind."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping

from corten.snapshots.workers import WorkerPool
from corten.snapshots.workers.door import Door

_door = Door(32, "builder")
run_blocking = _door.run
run_job = _door.job


async def job_output(
    workers: WorkerPool,
    job: str,
    params: Mapping[str, object],
    directory: str,
    *,
    limit: int = sys.maxsize,
) -> bytes:
    """What a job writes to the fd that it is given, at most `limit` bytes of it.

    For as long as that takes it is a nameless file in `directory`. Raises what the job raises, OSError.
    """
    with tempfile.TemporaryFile(dir=directory) as file:
        fd = file.fileno()
        await run_job(workers, job, params, [fd])
        size = min(os.fstat(fd).st_size, limit)
        return await run_blocking(lambda: os.pread(fd, size, 0))
