"""Compressing rotated log files beside the event loop: zlib in a thread, which has the GIL released.

A compressed file says in its header's comment which file it was (inode and time of its last change), so that
a reader who has that one open does not take it for another.
"""

from __future__ import annotations

import os
import struct
import zlib
from _thread import start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.supervisor.loop import Loop

_BLOCK = 256 * 1024
_FCOMMENT = 0x10  # RFC 1952, 2.3.1
_running: set[str] = set()


def identity_of(fd: int) -> str:
    """What a compressed file's comment says of its original."""
    status = os.fstat(fd)
    return f"{status.st_ino}:{status.st_mtime_ns}"


class Compression:
    """One file on its way. `done` is called on the loop with the unfinished file's name, "" if it failed."""

    __slots__ = ("_done", "_event", "_loop", "_target", "_well", "fd")

    def __init__(self, loop: Loop, fd: int, path: str, done: Callable[[Compression, str], None]) -> None:
        """fd: of the file, ours from now on. path: of the log, beside which the work is done."""
        self._loop, self.fd, self._done = loop, fd, done
        self._target = f"{path}.compressing-{os.fstat(fd).st_ino}"
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._well = False
        _running.add(self._target)
        loop.watch(self._event, self._finished)
        start_new_thread(self._work, ())

    def _work(self) -> None:
        try:
            _compress(self.fd, self._target)
            self._well = True
        except OSError:
            pass  # no space: it stays as it is
        finally:
            os.eventfd_write(self._event, 1)

    def _finished(self) -> None:
        self._loop.forget(self._event)
        os.close(self._event)
        _running.discard(self._target)
        try:
            self._done(self, self._target if self._well else "")
        finally:
            os.close(self.fd)
            try:
                os.unlink(self._target)
            except FileNotFoundError:
                pass


def drop_unfinished(path: str) -> None:
    """Remove what a killed log writer has left beside the log at `path`."""
    folder, _, name = path.rpartition("/")
    for entry in os.listdir(folder or "."):
        full = f"{folder}/{entry}"
        if entry.startswith(f"{name}.compressing-") and full not in _running:
            os.unlink(full)


def _compress(source: int, target: str) -> None:
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        header = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, _FCOMMENT, 0, 0, 255)
        _write(writing, header + identity_of(source).encode() + b"\0")
        packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        crc = size = 0
        while block := os.pread(source, _BLOCK, size):
            crc, size = zlib.crc32(block, crc), size + len(block)
            _write(writing, packer.compress(block))
        _write(writing, packer.flush() + struct.pack("<II", crc, size & 0xFFFFFFFF))
        os.fsync(writing)  # the original goes in exchange for it
    finally:
        os.close(writing)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
