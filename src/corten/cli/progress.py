"""Progress of pulls, pushes, loads and builds: JSON messages to lines, redrawn in place on a terminal."""

from __future__ import annotations

import os

from corten.cli import sizes
from corten.cli.context import write_all
from corten.cli.errors import ExitError
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

_BAR_COLUMNS = 50
_MIN_BAR_TERMINAL = 110


def messages(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream, each as soon as it is there. Raises ExitError at the end of half one."""
    buffer = b""
    for piece in pieces:
        buffer += piece
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            if line.strip():
                yield from _objects(line)
    if buffer.strip():
        yield from _objects(buffer)


def _objects(line: bytes) -> Iterator[dict[str, Any]]:
    text = line.decode("utf-8", "replace").strip()
    at = 0
    while at < len(text):
        try:
            value, at = jsontext.scan(text, at)
        except ValueError as e:
            raise ExitError("unexpected EOF") from e
        if isinstance(value, dict):
            yield value


def show(pieces: Iterable[bytes], fd: int | None, aux: Callable[[Any], None] | None = None) -> None:
    """Show a stream of messages on `fd` (None: nowhere); the engine's error in it is raised as ExitError."""
    display = _Display(fd)
    for message in messages(pieces):
        if error := message.get("errorDetail"):
            raise ExitError(
                str(error.get("message") or message.get("error") or ""), int(error.get("code") or 1)
            )
        if error_text := message.get("error"):
            raise ExitError(str(error_text))
        if "aux" in message:
            if aux:
                aux(message["aux"])
            continue
        display.show(message)


class _Display:
    """On a terminal the progress of one thing has a line, redrawn in place; elsewhere all is appended."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._terminal = fd is not None and os.isatty(fd)
        self._rows: dict[str, int] = {}

    def show(self, message: dict[str, Any]) -> None:
        """Write one message."""
        if self._fd is None:
            return
        detail = message.get("progressDetail")
        if "stream" in message:
            self._append(str(message["stream"]))
        elif detail is None or not message.get("id"):
            self._append(_line(message) + "\n")
        elif self._terminal:
            self._redraw(str(message["id"]), f"{_line(message)} {self._amount(detail)}")
        elif not detail:
            self._append(_line(message) + "\n")

    def _append(self, text: str) -> None:
        self._rows.clear()
        self._write(text)

    def _redraw(self, ident: str, line: str) -> None:
        start = "" if ident in self._rows else "\n"
        row = self._rows.setdefault(ident, len(self._rows))
        up = len(self._rows) - row
        self._write(f"{start}\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B")

    def _write(self, text: str) -> None:
        assert self._fd is not None
        write_all(self._fd, text.encode("utf-8", "replace"))

    def _amount(self, detail: dict[str, Any]) -> str:
        """The bar, if the terminal is wide enough, and how much of how much."""
        current, total = detail.get("current", 0), detail.get("total", 0)
        if not current and not total:
            return ""
        if units := detail.get("units"):
            return f"{current}/{total} {units}" if total > 0 else f"{current} {units}"
        if total <= 0:
            return f"{sizes.decimal(current):>8}"
        full = min(current * _BAR_COLUMNS // total, _BAR_COLUMNS)
        bar = "[" + "=" * full + ">" + " " * (_BAR_COLUMNS - full) + "] "
        numbers = f"{sizes.decimal(current):>8}/{sizes.decimal(total)}"
        return bar + numbers if self._columns() > _MIN_BAR_TERMINAL else numbers

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._fd or 1).columns
        except OSError:
            return 0


def _line(message: dict[str, Any]) -> str:
    prefix = f"{message['id']}: " if message.get("id") else ""
    origin = f"(from {message['from']}) " if message.get("from") else ""
    return f"{prefix}{origin}{message.get('status', '')}"
