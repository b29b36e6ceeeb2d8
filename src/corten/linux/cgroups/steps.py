"""Work that has to wait for the kernel in between: an iterator of the seconds to wait before it goes on.

Who has nothing else to do sleeps (`at_once`); an event loop comes back later.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def at_once(steps: Iterator[float]) -> None:
    """Do it all."""
    for seconds in steps:
        time.sleep(seconds)
