"""Writing Docker's json-file log format, rotated.

    {"log":"hello\\n","stream":"stdout","time":"2026-11-21T03:16:00.123456789Z"}\\n

A line over 16 KiB is cut into pieces; all but the last lack the "\\n" at the end of "log". Rotated files
are `path.1` (newest) to `path.N-1`, with `.gz` at the end when they have been compressed. Source: Docker's
documentation of the json-file driver.
"""

from __future__ import annotations

import os
import time
from json.encoder import encode_basestring

from corten.supervisor.compression import Compression, drop_unfinished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.loop import Loop

LINE_MAX = 16 * 1024


def split_lines(data: bytes) -> tuple[list[bytes], int]:
    """The whole lines at the beginning of `data`, which begins with one, and the length of what follows them.

    A line over LINE_MAX bytes is cut into pieces of that length, as soon as they are there.
    """
    parts = data.split(b"\n")
    rest = parts.pop()
    result: list[bytes] = []
    for part in parts:
        if len(part) >= LINE_MAX:
            result.extend(_pieces(part + b"\n"))
        else:
            result.append(part + b"\n")
    while len(rest) >= LINE_MAX:
        result.append(rest[:LINE_MAX])
        rest = rest[LINE_MAX:]
    return result, len(rest)


def _pieces(line: bytes) -> list[bytes]:
    return [line[i : i + LINE_MAX] for i in range(0, len(line), LINE_MAX)]


_second = -1
_second_text = ""


def timestamp(now_ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC; trailing zeros cut as Go's RFC3339Nano does."""
    global _second, _second_text
    second, fraction = divmod(now_ns, 1_000_000_000)
    if second != _second:
        _second, _second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    if not fraction:
        return f"{_second_text}Z"
    return f"{_second_text}.{fraction:09d}".rstrip("0") + "Z"


class JsonFile:
    """One container's log, rotated by size and age. A disk that is full loses lines, never the container."""

    __slots__ = (
        "_attrs",
        "_begun_s",
        "_compression",
        "_fd",
        "_loop",
        "_max_age_s",
        "_max_bytes",
        "_max_files",
        "_on_write",
        "_path",
        "_size",
        "_wants_compression",
    )
    full = sending = False

    def __init__(
        self,
        log: dict[str, Any],
        loop: Loop | None = None,
        on_write: Callable[[int, int], None] = lambda before, after: None,
    ) -> None:
        """loop: needed for `compress` only. on_write: told, ahead of a write, the sizes before and after."""
        self._on_write = on_write
        self._path: str = log["path"]
        self._max_bytes: int = log.get("max_bytes", 0)
        self._max_files: int = log.get("max_files", 1)
        self._max_age_s: int = log.get("max_age_s", 0)
        self._wants_compression = bool(log.get("compress")) and loop is not None and self._max_files > 1
        self._loop = loop
        self._compression: Compression | None = None
        attrs: dict[str, str] = log.get("attrs") or {}
        pairs = ",".join(f"{encode_basestring(k)}:{encode_basestring(v)}" for k, v in sorted(attrs.items()))
        self._attrs = f',"attrs":{{{pairs}}}' if pairs else ""
        self._fd = -1  # opened when there is something to write: many containers are silent
        self._size = 0
        self._begun_s = 0

    def _begin(self) -> None:
        """The first line is about to be written."""
        self._open()
        if self._wants_compression:
            try:
                drop_unfinished(self._path)
            except OSError:
                return
            self._compress_next()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self._path, flags, 0o640)
            self._size = os.fstat(self._fd).st_size
        except OSError:
            self._fd = -1
            return
        if self._max_age_s:
            first = os.pread(self._fd, 2 * LINE_MAX, 0).partition(b"\n")[0] if self._size else b""
            self._begun_s = _seconds_of(first) or int(time.time())

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Append lines of one stream ("stdout", "stderr") that were read together."""
        tail = f',"stream":"{stream}"{self._attrs},"time":"{timestamp(time.time_ns())}"}}\n'
        text = "".join(
            [f'{{"log":{encode_basestring(line.decode("utf-8", "replace"))}{tail}' for line in lines]
        )
        data = text.encode("utf-8", "replace")
        if self._fd < 0:
            self._begin()
        if self._size and self._is_due(len(data)):
            self._rotate()
        self._on_write(self._size, self._size + len(data))
        try:
            written = os.write(self._fd, data)
            if written < len(data):  # the disk is full: half a record is none
                os.ftruncate(self._fd, self._size)
                written = 0
            self._size += written
        except OSError:
            pass

    def undo(self, before: int, after: int) -> bool:
        """Take back a write that `on_write` was told of, and that was cut short. False if it was not."""
        if self._fd < 0:
            self._open()
        if self._size >= after:
            return False
        if self._size > before:
            os.ftruncate(self._fd, before)
            self._size = before
        return True

    def _is_due(self, more: int) -> bool:
        if self._max_bytes and self._size + more > self._max_bytes:
            return True
        return bool(self._max_age_s) and time.time() >= self._begun_s + self._max_age_s

    def _rotate(self) -> None:
        self.close()
        try:
            for number in range(self._free_place(), 0, -1):
                for ending in ("", ".gz"):
                    _remove(f"{self._path}.{number}{ending}")
                    if number > 1:
                        _rename(f"{self._path}.{number - 1}{ending}", f"{self._path}.{number}{ending}")
            if self._max_files > 1:
                _rename(self._path, f"{self._path}.1")
            else:
                _remove(self._path)
        except OSError:
            pass
        self._open()
        self._compress_next()

    def _free_place(self) -> int:
        """The first number that no rotated file has (also where a rotation was cut short), else the last."""
        for number in range(1, self._max_files - 1):
            if not any(os.path.lexists(f"{self._path}.{number}{ending}") for ending in ("", ".gz")):
                return number
        return self._max_files - 1

    def _compress_next(self) -> None:
        """Compress the newest rotated file that is not; one at a time."""
        if not self._wants_compression or self._compression is not None or self._loop is None:
            return
        for number in range(1, self._max_files):
            try:
                fd = os.open(f"{self._path}.{number}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                continue
            self._compression = Compression(self._loop, fd, self._path, self._compressed)
            return

    def _compressed(self, work: Compression, result: str) -> None:
        """Put the result in the place of its original, which may have moved on meanwhile."""
        self._compression = None
        if not result:
            return
        original = os.fstat(work.fd)
        for number in range(1, self._max_files):
            path = f"{self._path}.{number}"
            try:
                if os.path.samestat(os.lstat(path), original):
                    os.rename(result, f"{path}.gz")
                    os.unlink(path)
                    break
            except OSError:
                continue
        self._compress_next()

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _rename(path: str, to: str) -> None:
    try:
        os.rename(path, to)
    except FileNotFoundError:
        pass


def _seconds_of(line: bytes) -> int:
    """When a record was written, seconds since 1970; 0 if it does not say."""
    at = line.rfind(b'"time":"') + 8
    text = line[at : at + 19]
    try:
        date = int(text[0:4]), int(text[5:7]), int(text[8:10])
        clock = int(text[11:13]), int(text[14:16]), int(text[17:19])
    except ValueError:
        return 0
    return int(time.mktime((*date, *clock, 0, 0, 0))) - time.timezone
