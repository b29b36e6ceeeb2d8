"""Pumping bytes between a hijacked stream and the stdio of a container or exec.

Everything happens in callbacks of the event loop: no thread, no task and no copy in memory beyond one
read. An output is not read while the client does not take data, so a slow client slows the process,
not the engine; likewise the client is not read while the process does not take its stdin.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from corten.api.hijack import Consumer
from corten.api.limits import LOW_WATER, SETTLE_S
from corten.errors import CortenError
from corten.linux.pipes import enlarge
from corten.types.operations import Attachment, Output
from corten.wire import stdcopy
from corten.wire.detachkeys import Scanner

_READ = 120 << 10  # a full pipe with its header and more; malloc(3) takes it from the heap


class Stream(Protocol):
    """The client, as a `HijackedStream` or something that speaks a protocol over one."""

    @property
    def lost(self) -> bool:
        """It has gone."""

    @property
    def writable(self) -> bool:
        """It takes data."""

    def start(self, consumer: Consumer) -> None:
        """Deliver what came and what comes."""

    def write(self, data: bytes) -> None:
        """Send; look at `writable` afterwards."""

    async def send(self, data: bytes) -> None:
        """Send and wait while the client does not take it. Raises ConnectionResetError."""

    async def head_taken(self) -> None:
        """Wait, shortly, until the client has read the head."""

    def pause(self) -> None:
        """Take no more from the client for now."""

    def resume(self) -> None:
        """Take from the client again."""

    async def finish(self) -> None:
        """End our sending, let the client read it all, close."""


class Relay:
    """One attachment. Owns its fds from the beginning and closes them at the end, once."""

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment
        self._loop = asyncio.get_running_loop()
        self._live: dict[int, Output] = {output.fd: output for output in attachment.outputs}
        self._flowing = False
        self._stdin = attachment.stdin_fd
        self._typed = bytearray()
        self._stdin_waits = False
        self._stdin_ended = False
        self._scanner = Scanner(attachment.detach_keys if attachment.tty else b"")
        self._over = self._loop.create_future()
        self._group: asyncio.TaskGroup | None = None
        self._stream: Stream

    async def run(self, stream: Stream) -> None:
        """Relay until it is over (see Attachment), then end the stream."""
        self._stream = stream
        try:
            await stream.head_taken()
            if self._attachment.history is not None:
                await _send_all(stream, self._attachment.history)
            async with asyncio.TaskGroup() as self._group:
                self._begin()
                await self._over
                await self._settle()
        finally:
            self.close()
        await stream.finish()

    async def _settle(self) -> None:
        settled = self._attachment.settled
        if settled is not None and not self._live and not self._stream.lost:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await settled()

    def close(self) -> None:
        """Close the fds."""
        self._pause_outputs()
        self._stop_stdin()
        for fd in self._live:
            os.close(fd)
        self._live.clear()
        on_close, self._attachment.on_close = self._attachment.on_close, None
        if on_close is not None:
            on_close()

    # ------------------------------------------------------------ process → client

    def _begin(self) -> None:
        for fd in {*self._live, *([self._stdin] if self._stdin is not None else [])}:
            os.set_blocking(fd, False)
        if not self._live and self._stdin is None:
            self._end()
            return
        self.on_writable()
        self._stream.start(self)

    def on_writable(self) -> None:
        """The client takes data: read the outputs."""
        if not self._flowing and not self._over.done():
            self._flowing = True
            for output in self._live.values():
                self._loop.add_reader(output.fd, self._readable, output)

    def _pause_outputs(self) -> None:
        if self._flowing:
            self._flowing = False
            for fd in self._live:
                self._loop.remove_reader(fd)

    def _readable(self, output: Output) -> None:
        try:
            data = os.read(output.fd, _READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # EIO: the last user of the terminal has gone; ECONNRESET: the log writer
            data = b""
        if not data:
            self._output_ended(output)
            return
        if output.stream is not None:
            data = stdcopy.header(output.stream, len(data)) + data
        self._stream.write(data)
        if not self._stream.writable:
            self._pause_outputs()

    def _output_ended(self, output: Output) -> None:
        self._loop.remove_reader(output.fd)
        del self._live[output.fd]
        if output.fd == self._stdin:
            self._stop_stdin()
        else:
            os.close(output.fd)
        if not self._live:
            self._end()

    # ------------------------------------------------------------ client → process

    def on_data(self, data: bytes) -> None:
        """The client has sent bytes for stdin."""
        if self._stdin is None or self._over.done():
            return
        typed, detached = self._scanner.feed(data)
        self._typed += typed
        if self._stdin_waits:
            self._throttle()
        else:
            self._write_stdin()
        if detached:
            if self._attachment.on_detach is not None:
                self._attachment.on_detach()
            self._end()

    def on_end(self) -> None:
        """The client will send no more."""
        self._stdin_ended = True
        if not self._typed:
            self._finish_stdin()

    def on_lost(self) -> None:
        """The client has gone: nobody reads the outputs, but what it had typed still arrives."""
        self._pause_outputs()
        for fd in self._live:
            if fd != self._stdin:
                os.close(fd)
        self._live.clear()
        self.on_end()

    def _write_stdin(self) -> None:
        """Write what the process takes now, and come back for the rest."""
        assert self._stdin is not None
        try:
            while self._typed:
                with memoryview(self._typed) as typed:
                    taken = os.write(self._stdin, typed)
                del self._typed[:taken]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # EPIPE, EIO: nobody reads it any more
            self._stop_stdin()
            self._stream.resume()
            return
        self._wait_stdin(bool(self._typed))
        self._throttle()
        if self._stdin_ended and not self._typed:
            self._finish_stdin()

    def _throttle(self) -> None:
        """Read the client no faster than the process reads its stdin."""
        if len(self._typed) > LOW_WATER:
            self._stream.pause()
        elif not self._typed:
            self._stream.resume()

    def _wait_stdin(self, wait: bool) -> None:
        if wait != self._stdin_waits and self._stdin is not None:
            self._stdin_waits = wait
            if wait:
                with suppress(OSError):  # a terminal, or a socket of the log writer's
                    enlarge(self._stdin)  # much is coming: fewer turns for it
                self._loop.add_writer(self._stdin, self._write_stdin)
            else:
                self._loop.remove_writer(self._stdin)

    def _stop_stdin(self) -> None:
        """Write no more, and close the fd unless it is also an output that is still read."""
        if self._stdin is None:
            return
        self._wait_stdin(False)
        fd, self._stdin = self._stdin, None
        self._typed.clear()
        if fd not in self._live:
            os.close(fd)

    def _finish_stdin(self) -> None:
        had_stdin = self._stdin is not None
        self._stop_stdin()
        on_stdin_end, self._attachment.on_stdin_end = self._attachment.on_stdin_end, None
        if had_stdin and on_stdin_end is not None and self._group is not None:
            self._group.create_task(_call(on_stdin_end))
        if (had_stdin and self._attachment.end_with_stdin) or not self._live:
            self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


async def _send_all(stream: Stream, chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        await stream.send(chunk)


async def _call(action: Callable[[], Awaitable[None]]) -> None:
    try:
        await action()
    except CortenError:  # the process has gone meanwhile
        pass
