"""Writing Docker's json-file log format, rotated.

    {"log":"hello\\n","stream":"stdout","time":"2026-11-21T03:16:00.123456789Z"}\\n

A line over 16 KiB is cut into pieces; all but the last lack the "\\n" at the end of "log". Rotated files
are `path.1` (newest) to `path.N-1`. Source: Docker's documentation of the json-file driver.
"""

from __future__ import annotations

import os
import time
from json.encoder import encode_basestring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINE_MAX = 16 * 1024


class LineSplitter:
    """Cuts a stream into lines of at most LINE_MAX bytes, keeping what has no end yet."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`, with their newline; pieces of an overlong one without."""
        parts = (self._rest + data if self._rest else data).split(b"\n")
        self._rest = parts.pop()
        result: list[bytes] = []
        for part in parts:
            if len(part) >= LINE_MAX:
                result.extend(_pieces(part + b"\n"))
            else:
                result.append(part + b"\n")
        while len(self._rest) >= LINE_MAX:
            result.append(self._rest[:LINE_MAX])
            self._rest = self._rest[LINE_MAX:]
        return result

    def finish(self) -> list[bytes]:
        """What was left without a newline at the end of the stream."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


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
    """One container's log. A disk that is full loses lines, never the container."""

    __slots__ = ("_attrs", "_fd", "_max_bytes", "_max_files", "_path", "_size")

    def __init__(self, log: dict[str, Any]) -> None:
        self._path: str = log["path"]
        self._max_bytes: int = log.get("max_bytes", 0)
        self._max_files: int = log.get("max_files", 1)
        attrs: dict[str, str] = log.get("attrs") or {}
        pairs = ",".join(f"{encode_basestring(k)}:{encode_basestring(v)}" for k, v in sorted(attrs.items()))
        self._attrs = f',"attrs":{{{pairs}}}' if pairs else ""
        self._fd = -1  # opened when there is something to write: many containers are silent
        self._size = 0

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self._path, flags, 0o640)
            self._size = os.fstat(self._fd).st_size
        except OSError:
            self._fd = -1

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Append lines of one stream ("stdout", "stderr") that were read together."""
        tail = f',"stream":"{stream}"{self._attrs},"time":"{timestamp(time.time_ns())}"}}\n'
        text = "".join(
            [f'{{"log":{encode_basestring(line.decode("utf-8", "replace"))}{tail}' for line in lines]
        )
        data = text.encode("utf-8", "replace")
        if self._fd < 0:
            self._open()
        if self._max_bytes and self._size and self._size + len(data) > self._max_bytes:
            self._rotate()
        try:
            self._size += os.write(self._fd, data)
        except OSError:
            pass

    def _rotate(self) -> None:
        self.close()
        try:
            for number in range(self._max_files - 1, 0, -1):
                older = f"{self._path}.{number - 1}" if number > 1 else self._path
                try:
                    os.rename(older, f"{self._path}.{number}")
                except FileNotFoundError:
                    pass
            if self._max_files <= 1:
                os.unlink(self._path)
        except OSError:
            pass
        self._open()

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class NoLog:
    """Driver "none": output only goes to who is attached."""

    __slots__ = ()

    def write(self, stream: str, lines: list[bytes]) -> None:
        pass

    def close(self) -> None:
        pass


def open_log(log: dict[str, Any]) -> JsonFile | NoLog:
    """The writer for a log target."""
    return JsonFile(log) if log["driver"] == "json-file" else NoLog()
