"""Where output is between its pipe and the log: a log writer killed at any instant loses and doubles nothing.

    container's pipe ──tee──► looked at: which whole lines are there?
            │
            └──splice──► staging ──(written to the log)──► nowhere
                            mark

Output stays in its own pipe until it makes whole lines. Those are moved to the staging pipe, a FIFO that the
supervisor holds open, and are taken from there only when the log has them. The mark, a mapped file, says how
far that has come; as nobody else touches the staging pipe, the next log writer knows exactly what to do:

    IDLE      the staging pipe is empty
    MOVED     what is in it is not in the log
    WRITING   it is, if the log file has become as long as the mark says; if not, that is cut back first

On disk: EXEC_ROOT/logs.staging, EXEC_ROOT/logs.mark. The mark names stream and log of whom it speaks.
"""

from __future__ import annotations

import json
import mmap
import os
import struct

from corten.linux import pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IDLE, _MOVED, _WRITING = 0, 1, 2
_MARK = struct.Struct("<BxxxIQQ")  # state, length of the owner's document, log's size before, and after
_STATE, _LENGTH = struct.Struct("<B"), struct.Struct("<I")
_SIZES = struct.Struct("<QQ")
_SIZE = 256 << 10
_CHUNK = 64 << 10


def open_fifo(exec_root: str) -> int:
    """Both ends of the staging pipe. It lasts as long as anybody has it open."""
    path = f"{exec_root}/logs.staging"
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        pass
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


class Owner:
    """Whose output is staged: a stream ("stdout", "stderr") and the document of its log."""

    __slots__ = ("document",)

    def __init__(self, stream: str, log: dict[str, Any]) -> None:
        self.document = json.dumps({"stream": stream, "log": log}).encode()


class Staging:
    """The staging pipe and its mark. One lot of output at a time."""

    __slots__ = ("_fifo", "_map", "_null", "_owner", "_scratch")

    def __init__(self, exec_root: str) -> None:
        self._fifo = open_fifo(exec_root)
        self._null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        self._scratch = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for pipe in (self._fifo, self._scratch[0]):
            pipes.enlarge(pipe)
        fd = os.open(f"{exec_root}/logs.mark", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, _SIZE)
            self._map = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)
        self._owner: Owner | None = None

    def look(self, pipe: int) -> bytes | None:
        """What is in a pipe, up to 64 KiB, which stays there; b"" at its end, None if it is empty."""
        try:
            count = pipes.tee(pipe, self._scratch[1], _CHUNK)
        except BlockingIOError:
            return None
        return os.read(self._scratch[0], count) if count else b""

    # -- one lot after another --------------------------------------------------------------------

    def move(self, pipe: int, count: int, owner: Owner) -> None:
        """Stage the first `count` bytes of a pipe."""
        if owner is not self._owner:
            # Too long a document (of labels, say) leaves this lot as unprotected as a plain read would.
            text = owner.document if len(owner.document) <= _SIZE - _MARK.size else b""
            self._map[_MARK.size : _MARK.size + len(text)] = text
            _LENGTH.pack_into(self._map, 4, len(text))
            self._owner = owner
        self._map[0] = _MOVED
        pipes.move(pipe, self._fifo, count)

    def writing(self, before: int, after: int) -> None:
        """The log file, `before` bytes long, is about to grow to `after` by what is staged."""
        _SIZES.pack_into(self._map, 8, before, after)
        self._map[0] = _WRITING

    def written(self, count: int) -> None:
        """All of it has been dealt with."""
        pipes.move(self._fifo, self._null, count)
        self._map[0] = _IDLE

    # -- after another log writer -----------------------------------------------------------------

    def left(self) -> Left | None:
        """What a log writer before us has left there; then call `dispose`."""
        state, length, before, after = _MARK.unpack_from(self._map)
        data = self.look(self._fifo)
        if state == _IDLE or not length or not data:
            return None
        document = json.loads(self._map[_MARK.size : _MARK.size + length])
        sizes = (before, after) if state == _WRITING else None
        return Left(document["stream"], document["log"], data, sizes)

    def dispose(self) -> None:
        """Empty the staging pipe."""
        data = self.look(self._fifo)
        self.written(len(data or b""))


class Left:
    """Output that may not be in its log yet. sizes: see Staging.writing; None if it is not."""

    __slots__ = ("data", "log", "sizes", "stream")

    def __init__(self, stream: str, log: dict[str, Any], data: bytes, sizes: tuple[int, int] | None) -> None:
        self.stream, self.log, self.data, self.sizes = stream, log, data, sizes
