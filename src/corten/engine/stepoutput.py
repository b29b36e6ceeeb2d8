"""What a build's command writes, on its way to the builder. No log has it: the log writer is not asked."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

from corten.builder.executor import OnOutput
from corten.images.blocking import read_pipe

_READ = 64 << 10


class OutputPipes:
    """The pipes for stdout and stderr; closed with the block.

    `ends`: where the command writes to, until they are closed by `close_ends`.
    """

    def __enter__(self) -> OutputPipes:
        self._held = ExitStack()
        self._own = ExitStack()
        stdout, out = self._pipe()
        stderr, err = self._pipe()
        self._streams = {"stdout": stdout, "stderr": stderr}
        self.ends = (out, err)
        return self

    def _pipe(self) -> tuple[int, int]:
        read_end, write_end = os.pipe()
        self._own.callback(os.close, read_end)
        self._held.callback(os.close, write_end)
        return read_end, write_end

    def close_ends(self) -> None:
        """Only the command has them now: with it the streams end."""
        self._held.close()

    async def hand_over(self, on_output: OnOutput, ended: asyncio.Future[Any]) -> None:
        """Read both to their end.

        ended: when the command has. Its pid namespace is empty then, all it has written is in the pipes, and
        whoever else has been given one over a socket is not waited for.
        """
        async with asyncio.TaskGroup() as tasks:
            for stream, fd in self._streams.items():
                tasks.create_task(pump(fd, stream, on_output, ended))

    def __exit__(self, *_: object) -> None:
        self._held.close()
        self._own.close()


async def hand_over_terminal(output: socket.socket, on_output: OnOutput) -> None:
    """Read what a terminal shows, as the log writer passes it on, to its end."""
    output.setblocking(False)
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(output, _READ):
        await on_output("stdout", data)


async def pump(fd: int, stream: str, on_output: OnOutput, ended: asyncio.Future[Any] | None = None) -> None:
    """Hand over what comes from a descriptor, until its end. `ended`: see `read_pipe`."""
    pieces = read_pipe(fd, _READ, ended)
    try:
        while data := await _next(pieces):
            await on_output(stream, data)
            if len(data) == _READ:
                await asyncio.sleep(0)  # there may be more, again and again, but others wait, too
    finally:
        await pieces.aclose()


async def _next(pieces: AsyncGenerator[bytes, None]) -> bytes:
    try:
        return await anext(pieces, b"")
    except OSError:
        return b""  # EIO: a terminal that nobody has open any more
