"""HTTP/2 over a command's stdin and stdout: how frontends that run as containers speak to us."""

from __future__ import annotations

import asyncio
import os

from corten.http2.rawstream import Consumer

_AHEAD = 1 << 20  # bytes that the command may be behind


class StdioStream:
    """See `corten.http2.rawstream.RawStream`. What the command writes is given to `received`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._consumer: Consumer | None = None
        self._fd = -1
        self._waiting = bytearray()
        self._early = bytearray()
        self._open = asyncio.Event()
        self._open.set()
        self._was_full = False
        self._ended = False

    def connect(self, fd: int | None) -> None:
        """The command's stdin, ours from now on."""
        if fd is None:
            return  # it has ended already
        if self._ended:
            os.close(fd)
            return
        os.set_blocking(fd, False)
        self._fd = fd
        self._flush()

    async def received(self, data: bytes) -> None:
        """Bytes that the command has written; waits while we are behind."""
        await self._open.wait()
        if self._consumer is None:
            self._early += data
        elif not self._ended:
            self._consumer.on_data(data)

    def ended(self) -> None:
        """The command has ended."""
        if not self._ended:
            self._ended = True
            self._close()
            if self._consumer is not None:
                self._consumer.on_lost()

    def start(self, consumer: Consumer) -> None:
        """See RawStream."""
        self._consumer = consumer
        early, self._early = bytes(self._early), bytearray()
        if early:
            consumer.on_data(early)

    def write(self, data: bytes) -> None:
        """See RawStream."""
        if not self._ended:
            self._waiting += data
            self._flush()

    def pause(self) -> None:
        """See RawStream."""
        self._open.clear()

    def resume(self) -> None:
        """See RawStream."""
        self._open.set()

    def abort(self) -> None:
        """See RawStream."""
        self.ended()

    @property
    def writable(self) -> bool:
        """See RawStream."""
        full = len(self._waiting) > _AHEAD
        self._was_full = self._was_full or full
        return not full

    def _flush(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove_writer(self._fd)
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._flush)
            return
        except OSError:
            self.ended()  # it no longer reads
            return
        if self._was_full and self._consumer is not None:
            self._was_full = False
            self._consumer.on_writable()

    def _close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._waiting.clear()
        self._open.set()
