"""Who waits for a container to stop or to go away."""

from __future__ import annotations

import asyncio

from corten.types.container import WaitError, WaitResponse
from corten.types.operations import WaitCondition


class Waiters:
    """Futures by condition. A cancelled future drops out by itself."""

    __slots__ = ("_exit", "_removed")

    def __init__(self) -> None:
        self._exit: set[asyncio.Future[WaitResponse]] = set()
        self._removed: set[asyncio.Future[WaitResponse]] = set()

    def add(self, condition: WaitCondition) -> asyncio.Future[WaitResponse]:
        """A future for the next exit or for the removal."""
        waiting = self._removed if condition is WaitCondition.REMOVED else self._exit
        future: asyncio.Future[WaitResponse] = asyncio.get_running_loop().create_future()
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        return future

    def exited(self, code: int) -> None:
        """The container has stopped and will not start again by itself at once."""
        _resolve(self._exit, WaitResponse(status_code=code))

    def removed(self, code: int, error: str = "") -> None:
        """The container is gone: nobody has anything to wait for any more."""
        answer = WaitResponse(status_code=code, error=WaitError(message=error) if error else None)
        _resolve(self._exit, answer)
        _resolve(self._removed, answer)


def _resolve(waiting: set[asyncio.Future[WaitResponse]], answer: WaitResponse) -> None:
    for future in tuple(waiting):
        if not future.done():
            future.set_result(answer)
