"""Noticing that a client which has ended its own sending is gone altogether.

A socket of which end-of-file was read is polled no more, so a client that half-closed (as
`docker attach` without -i does) and is killed later would never be missed. The kernel reports
EPOLLHUP when both directions are shut; one nested epoll for all connections listens for only that.
On TCP that comes with the reset that answers a keep-alive probe.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable


class HangupWatcher:
    """Calls back, once, when a watched socket has been hung up by its peer."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Start watching; fd must be given to `forget` before it is closed."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._epoll.fileno(), self._ready)
        if fd in self._callbacks:
            self._callbacks[fd] = callback
            return
        self._callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLONESHOT)  # no events wanted: only ERR and HUP, always on

    def forget(self, fd: int) -> None:
        """Stop watching; no harm if it was not watched."""
        if self._callbacks.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # closed already
                pass

    def close(self) -> None:
        """Watch nothing any more."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
        self._callbacks.clear()
        self._epoll.close()

    def _ready(self) -> None:
        for fd, _ in self._epoll.poll(0, 64):
            callback = self._callbacks.get(fd)
            if callback is not None:
                self.forget(fd)
                callback()
