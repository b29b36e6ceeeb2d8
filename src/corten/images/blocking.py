"""The bounded door between the event loop and blocking work (threads, worker processes, pipes)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from corten.errors import InternalError
from corten.types.progress import JSONMessage

T = TypeVar("T")

# Threads wait for workers, sockets and disks; the workers themselves are bounded by their pool.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="images")

_PIPE_BYTES = 1 << 20
_HANDOVER_BYTES = 4 << 20
_MOST_OF_A_NAME = 200


def submit(function: Callable[[], T]) -> Future[T]:
    """Begin `function` in a thread of the pool. Any thread."""
    return _threads.submit(function)


async def run_blocking(function: Callable[..., T], *args: object) -> T:
    """Run `function(*args)` in a thread. When the caller is cancelled the thread goes on to its end."""
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: function(*args))


async def run_to_end(stop: Callable[[], None], function: Callable[..., T], *args: object) -> T:
    """As `run_blocking`, but a cancelled caller calls `stop` and waits for the thread's end."""
    work = asyncio.get_running_loop().run_in_executor(_threads, lambda: function(*args))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        with suppress(Exception):
            await work
        raise


class StorageError(InternalError):
    """The kernel refused, most often for want of space; worded as Go does, which Docker's users know."""

    def __init__(self, error: OSError) -> None:
        reason = (error.strerror or str(error)).lower()
        name = str(error.filename or "")[:_MOST_OF_A_NAME]  # an archive's may be as long as it likes
        super().__init__(f"write {name}: {reason}" if name else reason)
        self.errno = error.errno


class ProgressQueue:
    """Collects progress lines of several tasks, to be read as one stream."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[JSONMessage | None] = asyncio.Queue()

    def put(self, message: JSONMessage) -> None:
        """Add a line (event loop's thread)."""
        self._queue.put_nowait(message)

    async def stream(self, work: Awaitable[object]) -> AsyncGenerator[JSONMessage, None]:
        """The lines while `work` runs; its error is raised after them, OSError as StorageError.

        Closing the stream cancels the work; wrap it in `aclosing`, or that happens when it is collected.
        """
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._queue.put_nowait(None))
        try:
            while (message := await self._queue.get()) is not None:
                yield message
            try:
                await task
            except OSError as e:
                raise StorageError(e) from e
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


class _Handover:
    """Chunks on their way from the loop to a thread, some megabytes at most."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = threading.Condition()
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._ended = False
        self._room = asyncio.Event()

    async def put(self, chunk: bytes) -> None:
        with self._news:
            self._chunks.append(chunk)
            self._bytes += len(chunk)
            full = self._bytes > _HANDOVER_BYTES
            if full:
                self._room.clear()
            self._news.notify()
        if full:
            await self._room.wait()

    def end(self) -> None:
        with self._news:
            self._ended = True
            self._news.notify()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._news:
                while not self._chunks and not self._ended:
                    self._news.wait()
                taken, self._chunks, self._bytes = self._chunks, [], 0
            self._loop.call_soon_threadsafe(self._room.set)
            if not taken:
                return
            yield from taken


async def feed(body: AsyncIterator[bytes], function: Callable[[Iterator[bytes]], T]) -> T:
    """Run `function(chunks)` in a thread, the chunks being those of `body`. What it leaves is dropped.

    A cancelled caller (or a body that breaks off) is an early end to the function, which is waited for.
    """
    handover = _Handover()

    async def pump() -> None:
        try:
            async for chunk in body:
                await handover.put(chunk)
        finally:
            handover.end()

    work = asyncio.get_running_loop().run_in_executor(_threads, function, iter(handover))
    return await _pumped(work, asyncio.ensure_future(pump()))


async def feed_to(body: AsyncIterator[bytes], begin: Callable[[int], Awaitable[T]]) -> T:
    """As `feed` for awaited work on a pipe: `begin(fd)` owns the fd."""
    read_end, write_end = os.pipe()
    work = asyncio.ensure_future(begin(read_end))
    return await _pumped(work, asyncio.ensure_future(_pump(body, write_end)))


async def _pumped(work: asyncio.Future[T], pump: asyncio.Future[None]) -> T:
    try:
        return await asyncio.shield(work)
    finally:
        pump.cancel()
        with suppress(asyncio.CancelledError, BrokenPipeError):
            await pump
        if not work.done():
            with suppress(Exception):
                await work


async def _pump(body: AsyncIterator[bytes], write_end: int) -> None:
    try:
        os.set_blocking(write_end, False)
        async for chunk in body:
            await _write_all(write_end, chunk)
    finally:
        os.close(write_end)


async def _write_all(fd: int, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            writable = loop.create_future()
            loop.add_writer(fd, _wake, writable)
            try:
                await writable
            finally:
                loop.remove_writer(fd)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def read_pipe(
    fd: int, size: int = _PIPE_BYTES, ended: asyncio.Future[Any] | None = None
) -> AsyncGenerator[bytes, None]:
    """What arrives on a pipe's read end, until its end. The fd stays the caller's.

    ended: from then on nothing more is waited for, whoever may still have the write end.
    """
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    while True:
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            if ended is not None and ended.done():
                return
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(fd, _wake, readable)
            try:
                waited = (readable,) if ended is None else (readable, ended)
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            finally:
                loop.remove_reader(fd)
            continue
        if not data:
            return
        yield data


async def piped(write: Callable[[int], Awaitable[object]]) -> AsyncGenerator[bytes, None]:
    """What `write(fd)`, which owns the fd, writes to a pipe; its error is raised at the end.

    When the generator is closed early the writer gets EPIPE and is waited for.
    """
    read_end, write_end = os.pipe()
    with suppress(OSError):  # beyond the user's limit of pages in pipes
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    work = asyncio.ensure_future(write(write_end))
    try:
        async with aclosing(read_pipe(read_end)) as chunks:
            async for chunk in chunks:
                yield chunk
        await work
    finally:
        os.close(read_end)
        with suppress(Exception):
            await asyncio.shield(work)
