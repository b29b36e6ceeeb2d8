"""The journal of exits: one line each, written before anybody is told.

    <task id> <pid> <start time> <code> <oom 0|1> <time in ns>\\n

Pid and start time are of the task's init: a container that is started again has the same id, and its former
end must not be taken for that of the process which runs now. A line cut short by a crash is ignored. Lines of
forgotten tasks go when the journal is rewritten.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Life = tuple[str, int, int]
    """Task id, pid, start time (`Task.life`)."""

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

    def append(self, life: Life, record: ExitRecord) -> None:
        """Write one exit (to the page cache: a crash of ours loses nothing, a power cut ends all tasks)."""
        os.write(self._fd, _line(life, record))
        self._lines += 1

    def read(self) -> dict[Life, ExitRecord]:
        """All exits in the file."""
        exits: dict[Life, ExitRecord] = {}
        with open(self._path, "rb") as f:
            for line in f:
                fields = line.decode("ascii", "replace").split()
                if line.endswith(b"\n") and len(fields) == 6:
                    task_id, pid, start_time, code, oom, at_ns = fields
                    life = task_id, int(pid), int(start_time)
                    exits[life] = ExitRecord(int(code), oom == "1", int(at_ns))
        return exits

    def compact(self, keep: Iterable[tuple[Life, ExitRecord]]) -> None:
        """Rewrite the file with `keep` alone, if it has grown long."""
        if self._lines < _REWRITE_AT:
            return
        fresh = f"{self._path}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        kept = 0
        for life, record in keep:
            os.write(fd, _line(life, record))
            kept += 1
        os.rename(fresh, self._path)
        os.close(self._fd)
        self._fd, self._lines = fd, kept


def _line(life: Life, record: ExitRecord) -> bytes:
    task_id, pid, start_time = life
    fields = (task_id.encode(), pid, start_time, record.code, record.oom, record.at_ns)
    return b"%s %d %d %d %d %d\n" % fields
