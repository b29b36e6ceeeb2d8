"""A request's body: what has arrived, with back-pressure."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from corten.api.limits import HIGH_WATER, LOW_WATER, MAX_JSON
from corten.errors import CortenError, InvalidParameter


class BodyTooLarge(CortenError):
    """More than the endpoint takes (413)."""


class Body:
    """Iterate over it for its bytes, once; or `read()` it whole.

    on_start is called before the first byte is waited for (100-continue), on_flow(True) when the
    connection should stop reading and on_flow(False) when it should go on.
    """

    __slots__ = ("_chunks", "_error", "_on_flow", "_on_start", "_paused", "_size", "_waiter", "complete")

    def __init__(self, on_flow: Callable[[bool], None], on_start: Callable[[], None] | None) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._on_flow = on_flow
        self._on_start = on_start
        self._paused = False
        self.complete = False

    @classmethod
    def of(cls, data: bytes) -> Body:
        """A body that has arrived."""
        body = cls(_nobody, None)
        if data:
            body.feed(data)
        body.finish()
        return body

    # the connection's side

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._on_flow(True)
        self._wake()

    def finish(self) -> None:
        """All of it has arrived."""
        self.complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The rest will never arrive."""
        if not self.complete and self._error is None:
            self._error = error
            self._wake()

    def discard(self) -> None:
        """Nobody will read what has arrived."""
        self._chunks.clear()
        self._size = 0
        self._resume()

    @property
    def failed(self) -> bool:
        """It was malformed, or the client went away."""
        return self._error is not None

    @property
    def awaits_continue(self) -> bool:
        """The client waits for our 100 before it sends anything."""
        return self._on_start is not None

    # the handler's side

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self.complete:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            await self._wait()
        data = self._chunks.popleft()
        self._size -= len(data)
        if self._size < LOW_WATER:
            self._resume()
        return data

    async def read(self, limit: int = MAX_JSON) -> bytes:
        """All of it. Raises BodyTooLarge beyond `limit` bytes."""
        if self.complete and len(self._chunks) <= 1:  # the usual: it came with the head
            data = self._chunks.popleft() if self._chunks else b""
            self._size = 0
            _check(len(data), limit)
            return data
        parts = []
        size = 0
        async for part in self:
            size += len(part)
            _check(size, limit)
            parts.append(part)
        return b"".join(parts)

    async def _wait(self) -> None:
        if self._on_start is not None:
            start, self._on_start = self._on_start, None
            start()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._on_flow(False)


def _nobody(pause: bool) -> None:
    """Nobody sends: there is nothing to pause."""


class IncompleteBody(InvalidParameter):
    """The client went away, or broke the protocol, in the middle of the body."""


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise BodyTooLarge(f"request body too large (more than {limit} bytes)")
