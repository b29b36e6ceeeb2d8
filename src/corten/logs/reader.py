"""The stream behind `docker logs`: backlog first, then what comes, until the container ends."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator

from corten.linux.inotify import IN_CREATE, IN_DELETE_SELF, IN_MODIFY, IN_MOVED_TO, Inotify
from corten.logs.files import RotatedLog
from corten.logs.records import Formatter, LogQuery, parse_lines

Chunk = list[tuple[int, bytes]]


class LogReader:
    """An open log: an iterator of lists of (stream number, bytes). Close it (`aclose`), read or not.

    What is open can be read to its end, also when its container is removed meanwhile. The backlog is read in
    a thread, because it may be cold on disk; what follows was written a moment ago and is read at once.
    """

    def __init__(self, log: RotatedLog, watch: _Watch | None, query: LogQuery, ended: asyncio.Event) -> None:
        self._log, self._watch, self._query, self._ended = log, watch, query, ended
        self._chunks = self._read()

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Stop reading."""
        await self._chunks.aclose()
        if self._watch is not None:
            await self._watch.close()
        self._log.close()

    async def _read(self) -> AsyncGenerator[Chunk, None]:
        log, formatter = self._log, Formatter(self._query)
        while data := await asyncio.to_thread(log.read_lines):
            if chunk := formatter.select(parse_lines(data)):
                yield chunk
            if formatter.is_past_until():
                return
        if self._watch is None:
            return
        while not formatter.is_past_until():
            finished = self._ended.is_set()  # looked at before reading: what was written before it is read
            while data := log.read_lines():
                if chunk := formatter.select(parse_lines(data)):
                    yield chunk
                if formatter.is_past_until():
                    return
            if finished:
                return
            until_ns = self._query.until_ns
            seconds = None if until_ns is None else until_ns / 1e9 - time.time()
            if seconds is not None and seconds <= 0:
                return
            await self._watch.wait(seconds)


async def open_logs(path: str, query: LogQuery, ended: asyncio.Event) -> LogReader:
    """The log at `path`, open from now on.

    With `follow` it goes on until `ended` is set (and everything written before has been given) or
    until `until_ns` has passed.
    """
    watch = None
    if query.follow:
        try:
            watch = _Watch(os.path.dirname(path), ended)
        except FileNotFoundError:
            pass  # removed with its container: what there is to open is all there will be
    try:
        return LogReader(await asyncio.to_thread(_open, path, query), watch, query, ended)
    except BaseException:
        if watch is not None:
            await watch.close()
        raise


def _open(path: str, query: LogQuery) -> RotatedLog:
    log = RotatedLog(path)
    if query.tail is not None:
        log.seek_to_tail(query.tail)
    return log


class _Watch:
    """Wakes when a file in the directory changes or the container has ended."""

    def __init__(self, directory: str, ended: asyncio.Event) -> None:
        self._inotify = Inotify()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        try:
            # The directory, not the file: one watch survives every rotation.
            self._inotify.add(directory, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF)
        except BaseException:
            self._inotify.close()
            raise
        self._loop.add_reader(self._inotify.fd, self._on_event)
        self._end = self._loop.create_task(self._wake_at_end(ended))

    def _on_event(self) -> None:
        self._inotify.read()
        self._changed.set()

    async def _wake_at_end(self, ended: asyncio.Event) -> None:
        await ended.wait()
        self._changed.set()

    async def wait(self, seconds: float | None) -> None:
        """Return after a change, the end or `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._inotify.fd)
        self._inotify.close()
        self._end.cancel()
        await asyncio.gather(self._end, return_exceptions=True)
