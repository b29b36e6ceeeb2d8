"""What a worker process writes to a pipe, as an asynchronous iterator that owns both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TypeAlias

from corten.images.blocking import read_pipe

Answer: TypeAlias = "dict[str, object]"
OnProgress: TypeAlias = Callable[[Answer], None]
Begin: TypeAlias = Callable[[Sequence[int], OnProgress, Callable[[], None]], Coroutine[None, None, Answer]]
"""Starts the job: (its fds, who gets its progress, called when it has its own copies of the fds)."""


class JobStream:
    """The job's output. It is killed by `aclose`, which must follow `open`."""

    def __init__(self, work: asyncio.Task[Answer], fd: int) -> None:
        self._work = work
        self._fd = fd
        self._pieces: AsyncGenerator[bytes, None] = read_pipe(fd)

    @classmethod
    async def open(cls, begin: Begin, fds: Sequence[int]) -> tuple[Answer, JobStream]:
        """(the job's first progress, its output). `fds`, now ours, go to the job behind the pipe.

        Raises what the job raises before its first progress.
        """
        loop = asyncio.get_running_loop()
        read_end, write_end = os.pipe()
        began: asyncio.Future[Answer] = loop.create_future()

        def on_start() -> None:
            for fd in (write_end, *fds):
                os.close(fd)

        def on_progress(message: Answer) -> None:
            loop.call_soon_threadsafe(_settle, began, message)

        work = loop.create_task(begin([write_end, *fds], on_progress, on_start))
        stream = cls(work, read_end)
        try:
            await asyncio.wait([began, work], return_when=asyncio.FIRST_COMPLETED)
            if not began.done():
                await work  # it has failed
            return await began, stream
        except BaseException:
            began.cancel()
            await stream.aclose()
            raise

    def __aiter__(self) -> JobStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            await self._work  # raises what it failed of
            raise

    async def aclose(self) -> None:
        """End the job and forget what it wrote."""
        await self._pieces.aclose()
        self._work.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._work
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _settle(future: asyncio.Future[Answer], message: Answer) -> None:
    if not future.done():
        future.set_result(message)
