"""Sending a piece of a file as chunks of a streamed answer: sendfile(2) in a thread.

Nothing of it passes through this process. The thread waits for a client that takes its time only for a
moment; after that the event loop waits, so that clients which stand still keep no thread.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from corten.types.pieces import FilePiece

CHUNK = 1 << 20
"""Bytes of a chunk: some clients keep a whole one in memory."""
_PATIENCE_MS = 200

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="send")


def chunk_head(left: int) -> bytes:
    """The line before the next chunk of a piece of which so many bytes are left."""
    return b"%x\r\n" % min(left, CHUNK)


async def read_piece(piece: FilePiece) -> AsyncIterator[bytes]:
    """Its bytes, read in a thread. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = piece.read()
    while data := await loop.run_in_executor(_threads, next, found, b""):
        yield data


async def send_chunks(sock: socket.socket, piece: FilePiece) -> None:
    """Send all of it, but the first chunk's head, which has been sent.

    sock does not block, and nobody else writes to it meanwhile.

    Raises ConnectionError if the client has gone, OSError (EIO: the file is shorter than it was). A
    cancelled call shuts the socket down.
    """
    loop = asyncio.get_running_loop()
    sender = _Sender(sock, piece)
    try:
        while True:
            work = loop.run_in_executor(_threads, sender.run)
            try:
                if await asyncio.shield(work):
                    return
            except asyncio.CancelledError:
                sender.stop()
                with suppress(OSError):
                    await work
                raise
            await sender.writable()
    finally:
        sender.close()


class _Sender:
    """How far it has got. The socket is a duplicate: its number stays ours."""

    def __init__(self, sock: socket.socket, piece: FilePiece) -> None:
        self._socket = sock.dup()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLOUT)
        self._file = piece.fd
        self._offset = piece.offset
        self._left = piece.length
        self._chunk = min(piece.length, CHUNK)
        self._frame = b""  # what stands between two chunks

    def run(self) -> bool:
        """Send until all is sent (True), or until the client has taken nothing for a moment. Blocks."""
        while self._chunk or self._frame:
            try:
                self._step()
            except BlockingIOError:
                if not self._poll.poll(_PATIENCE_MS):
                    return False
        return True

    def _step(self) -> None:
        if self._frame:
            sent = self._socket.send(self._frame, socket.MSG_MORE if self._left else 0)
            self._frame = self._frame[sent:]
            return
        sent = os.sendfile(self._socket.fileno(), self._file, self._offset, self._chunk)
        if not sent:
            raise OSError(errno.EIO, "a file is shorter than it was")
        self._offset += sent
        self._left -= sent
        self._chunk -= sent
        if not self._chunk:
            self._chunk = min(self._left, CHUNK)
            self._frame = b"\r\n" + (chunk_head(self._left) if self._left else b"")

    async def writable(self) -> None:
        """Wait until the client takes something, or has gone."""
        loop = asyncio.get_running_loop()
        taken = loop.create_future()
        number = self._socket.fileno()
        loop.add_writer(number, _wake, taken)
        try:
            await taken
        finally:
            loop.remove_writer(number)

    def stop(self) -> None:
        """Let nothing more be sent. Any thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give up the duplicate."""
        self._socket.close()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
