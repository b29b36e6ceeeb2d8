"""Tasks that wait for the same thing, each of which may be cancelled by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Waiters:
    """Who waits. Event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the next `wake`, or so long; what is waited for may have gone again by then."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        timer = None if timeout_s is None else loop.call_later(timeout_s, _let_go, future)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            if future in self._waiting:  # it was cancelled, or has waited for long enough
                self._waiting.remove(future)

    async def until(self, find: Callable[[], T | None], timeout_s: float) -> T | None:
        """What `find` finds, now or after a `wake`; None if that is nothing for so long."""
        end = time.monotonic() + timeout_s
        while (found := find()) is None and (left := end - time.monotonic()) > 0:
            await self.wait(left)
        return found

    def wake(self) -> None:
        """All that wait now go on."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                _let_go(future)


def _let_go(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
