"""What nobody waits for: done a moment later, so that whoever goes on meanwhile goes first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_DELAY_S = 0.003  # the next command of a build has been asked for by then, and takes longer to start


class Soon:
    """Calls `act`, once for all that asked for it since it was called last. Event loop's thread only."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Have it called, in some milliseconds."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_S, self.now)

    def now(self) -> None:
        """Call it now, asked for or not. Raises what it raises."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._act()
