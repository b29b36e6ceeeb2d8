"""The lines that a build answers over HTTP, from whoever writes them to who reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from corten.types.progress import JSONMessage

Put: TypeAlias = Callable[[JSONMessage], Awaitable[None]]
"""Hands a message on; waits while the client is behind."""

_QUEUE = 64  # messages that a slow client may be behind
_QUIET_KEPT = 2000  # messages of a quiet build, shown if it fails


async def messages_of(work: Callable[[Put], Awaitable[None]]) -> AsyncIterator[JSONMessage]:
    """What `work` puts, and then what it raises. Closing the iterator cancels the work."""
    queue: asyncio.Queue[JSONMessage | None] = asyncio.Queue(_QUEUE)

    async def run() -> None:
        try:
            await work(queue.put)
        except asyncio.CancelledError:
            raise  # nobody reads any more
        except BaseException:
            await queue.put(None)
            raise
        await queue.put(None)

    # A task of its own: a generator may be closed from anywhere, a TaskGroup may not.
    task = asyncio.ensure_future(run())
    try:
        while (message := await queue.get()) is not None:
            yield message
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


class Emitter:
    """Hands messages on; in a quiet build keeps them back in case it fails."""

    def __init__(self, put: Put, *, quiet: bool) -> None:
        self._put = put
        self._quiet = quiet
        self._kept: deque[JSONMessage] = deque(maxlen=_QUIET_KEPT)

    async def __call__(self, message: JSONMessage) -> None:
        if self._quiet:
            self._kept.append(message)
        else:
            await self._put(message)

    async def text(self, text: str) -> None:
        """A line or a part of one."""
        await self(JSONMessage(stream=text))

    async def failed(self) -> None:
        """The build has failed: hand on what a quiet one has kept back."""
        while self._kept:
            await self._put(self._kept.popleft())

    async def done(self, image_id: str) -> None:
        """The image is there; that is all that a quiet build says."""
        if self._quiet:
            await self._put(JSONMessage(stream=f"{image_id}\n"))
