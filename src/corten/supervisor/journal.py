"""The journal of exits: one line each, written before anybody is told.

    <task id> <code> <oom 0|1> <time in ns>\\n

A line cut short by a crash is ignored. Lines of forgotten tasks go when the journal is rewritten.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_REWRITE_AT = 4096


class ExitRecord:
    """How a task ended: `code` 0..255 (128+n for signal n), `at_ns` CLOCK_REALTIME."""

    __slots__ = ("at_ns", "code", "oom")

    def __init__(self, code: int, oom: bool, at_ns: int) -> None:
        self.code, self.oom, self.at_ns = code, oom, at_ns


class Journal:
    """Append-only file with occasional rewriting."""

    __slots__ = ("_fd", "_lines", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, task_id: str, record: ExitRecord) -> None:
        """Write one exit (to the page cache: a crash of ours loses nothing, a power cut ends all tasks)."""
        os.write(self._fd, _line(task_id, record))
        self._lines += 1

    def read(self) -> dict[str, ExitRecord]:
        """All exits in the file, the last of each task."""
        exits: dict[str, ExitRecord] = {}
        with open(self._path, "rb") as f:
            for line in f:
                fields = line.decode("ascii", "replace").split()
                if line.endswith(b"\n") and len(fields) == 4:
                    exits[fields[0]] = ExitRecord(int(fields[1]), fields[2] == "1", int(fields[3]))
        return exits

    def compact(self, keep: Iterable[tuple[str, ExitRecord]]) -> None:
        """Rewrite the file with `keep` alone, if it has grown long."""
        if self._lines < _REWRITE_AT:
            return
        fresh = f"{self._path}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        kept = 0
        for task_id, record in keep:
            os.write(fd, _line(task_id, record))
            kept += 1
        os.rename(fresh, self._path)
        os.close(self._fd)
        self._fd, self._lines = fd, kept


def _line(task_id: str, record: ExitRecord) -> bytes:
    return b"%s %d %d %d\n" % (task_id.encode(), record.code, record.oom, record.at_ns)
