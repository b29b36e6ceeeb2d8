"""Blocking work from the event loop: worker processes that a cancelled build does not leave behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from corten.snapshots.workers import Job, WorkerPool

T = TypeVar("T")

# They only wait: for workers, which their pool bounds, and for the disk.
_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="builder")


async def run_blocking(function: Callable[[], T]) -> T:
    """Run in a thread; when cancelled, wait for its end all the same, because it works on our files."""
    future = asyncio.get_running_loop().run_in_executor(_threads, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


async def run_job(
    workers: WorkerPool,
    name: str,
    params: Mapping[str, object],
    fds: Sequence[int] = (),
    on_progress: Callable[[dict[str, object]], None] | None = None,
) -> dict[str, object]:
    """Run a job in a worker process; when cancelled, it is killed. Raises what the job raised."""
    started: list[Job] = []
    cancelled = False

    def work() -> dict[str, object]:
        job = workers.start(name, params, fds)
        started.append(job)
        if cancelled:
            job.kill()
        return job.wait(on_progress)

    future = asyncio.get_running_loop().run_in_executor(_threads, work)
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
