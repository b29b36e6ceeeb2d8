"""The bounded door between an event loop and blocking work: threads that wait for workers and disks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from corten.snapshots.workers.pool import Answer, Job, WorkerPool

T = TypeVar("T")


class Door:
    """One per subsystem, so that none of them keeps another one waiting."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def run(self, function: Callable[[], T]) -> T:
        """Run in a thread; when cancelled, wait for its end all the same, because it works on our files."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _ended(future)
            raise

    async def job(
        self,
        workers: WorkerPool,
        name: str,
        params: Mapping[str, object],
        fds: Sequence[int] = (),
        on_progress: Callable[[Answer], None] | None = None,
        *,
        on_start: Callable[[], None] | None = None,
        bounded: bool = True,
    ) -> Answer:
        """Run a job in a worker process; when cancelled, it is killed. Raises what the job raised.

        on_start: called in the thread when the job has its own copies of the fds. bounded: see WorkerPool.
        """
        started: list[Job] = []
        cancelled = False

        def work() -> Answer:
            try:
                job = workers.start(name, params, fds, bounded=bounded)
            finally:
                if on_start is not None:
                    on_start()
            started.append(job)
            if cancelled:
                job.kill()
            return job.wait(on_progress)

        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancelled = True
            for job in started:
                job.kill()
            await _ended(future)
            raise


async def _ended(future: asyncio.Future[T]) -> None:
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # nobody will ask: the cancellation goes first
