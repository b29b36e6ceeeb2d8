"""Small writes made large."""

from __future__ import annotations

from collections.abc import Callable

_FULL = 256 << 10


class Buffer:
    """Collects what is written and gives it to `sink` in pieces of some 256 KiB; `flush` at the end."""

    def __init__(self, sink: Callable[[bytearray], None]) -> None:
        self._sink = sink
        self._pending = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        self._pending += data
        if len(self._pending) >= _FULL:
            self.flush()

    def flush(self) -> None:
        """Give what is left."""
        self._sink(self._pending)
        self._pending.clear()
