"""Tasks that wait for the same thing, each of which may be cancelled by itself."""

from __future__ import annotations

import asyncio


class Waiters:
    """Who waits. Event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Wait for the next `wake`; what is waited for may have gone again by then."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:  # it was cancelled
                self._waiting.remove(future)

    def wake(self) -> None:
        """All that wait now go on."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)
