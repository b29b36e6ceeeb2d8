"""Where a task's output is written: a file, a server with a file for `logs` beside it, or nowhere."""

from __future__ import annotations

from corten.supervisor.json_file import JsonFile
from corten.supervisor.remote_log import RemoteLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from corten.supervisor.loop import Loop

    class Target(Protocol):
        """What the log writer writes to."""

        @property
        def full(self) -> bool:
            """Whether reading of the task's output should pause."""

        @property
        def sending(self) -> bool:
            """Whether it has been closed, and a server takes the last of it."""

        def write(self, stream: str, lines: list[bytes]) -> None:
            """Lines of one stream ("stdout", "stderr"); pieces of overlong ones have no newline."""

        def close(self) -> None:
            """No more output."""


class Nowhere:
    """Driver "none": output only goes to who is attached."""

    __slots__ = ()
    full = sending = False

    def write(self, stream: str, lines: list[bytes]) -> None:
        pass

    def close(self) -> None:
        pass


class Dual:
    """A server, and a file that `logs` reads."""

    __slots__ = ("_file", "_remote")

    def __init__(self, file: JsonFile, remote: RemoteLog) -> None:
        self._file, self._remote = file, remote

    @property
    def full(self) -> bool:
        return self._remote.full

    @property
    def sending(self) -> bool:
        return self._remote.sending

    def write(self, stream: str, lines: list[bytes]) -> None:
        self._file.write(stream, lines)
        self._remote.write(stream, lines)

    def close(self) -> None:
        self._file.close()
        self._remote.close()


def open_target(
    log: dict[str, Any], loop: Loop, on_change: Callable[[], None], on_write: Callable[[int, int], None]
) -> Target:
    """The target of a `LogTarget`. on_change: its `full` may have changed. on_write: see JsonFile."""
    file = JsonFile(log, loop, on_write) if log.get("path") else None
    if not log.get("remote"):
        return file or Nowhere()
    remote = RemoteLog(log, loop, on_change)
    return Dual(file, remote) if file else remote
