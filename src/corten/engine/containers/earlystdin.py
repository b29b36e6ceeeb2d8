"""Stdin of a client that attaches before the container is started, as `docker run -i` does.

There is no process yet that could read, so the client gets a pipe of ours; from the start on what comes
out of it is handed to the process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_READ = 64 << 10


class EarlyStdin:
    """One client's pipe. `write_fd` is the client's; the other end is ours until the client's is closed."""

    def __init__(self) -> None:
        self._read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._target = -1
        self._waiting = bytearray()
        self._on_end: Callable[[], None] = lambda: None

    def connect(self, target_fd: int, on_end: Callable[[], None]) -> None:
        """Pass everything on to `target_fd` (ours from now on); `on_end` after the client's last byte."""
        os.set_blocking(target_fd, False)
        self._target, self._on_end = target_fd, on_end
        asyncio.get_running_loop().add_reader(self._read_fd, self._readable)

    def close(self) -> None:
        """There will be no process, or it has gone."""
        loop = asyncio.get_running_loop()
        if self._target >= 0:
            loop.remove_writer(self._target)
            os.close(self._target)
            self._target = -1
        if self._read_fd >= 0:
            loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
            self._read_fd = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._read_fd, _READ)
        except BlockingIOError:
            return
        if not data:
            self.close()
            self._on_end()
            return
        self._waiting += data
        self._write()

    def _write(self) -> None:
        """Write what the process takes; while something is left the client is not read."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                del self._waiting[: os.write(self._target, self._waiting)]
        except BlockingIOError:
            loop.remove_reader(self._read_fd)
            loop.add_writer(self._target, self._write)
            return
        except OSError:  # EPIPE, EIO: nobody reads it any more
            self.close()
            return
        loop.remove_writer(self._target)
        loop.add_reader(self._read_fd, self._readable)
