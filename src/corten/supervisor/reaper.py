"""Reaping children that have ended, without ever waiting for one.

A zombie that another process traces is that one's to wait for; until it does, lets go or ends, nobody else
can (ptrace(2), kernel: wait_consider_task). Any container may trace its own processes so, and those that come
into its pid namespace: who waited for such a child would wait as long as the container likes.
"""

from __future__ import annotations

import os
import signal

from corten.linux.pidfd import has_ended, send_signal
from corten.linux.process import WALL, zombie_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.supervisor.loop import Loop

_AGAIN_S = 0.2
_DYING_S = 0.1  # usually a few milliseconds; a tracer may hold up even that
_UNKNOWN = 255 << 8  # a wait status


class Reaper:
    """kept: pids of children that have ended, but are not reaped yet."""

    __slots__ = ("_loop", "kept")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.kept: set[int] = set()

    def reap(self, pid: int) -> int:
        """The wait status of a child that has ended; it is reaped now, or when its tracer has let go of it.

        Raises ChildProcessError: it is no child of ours.
        """
        reaped, status = os.waitpid(pid, WALL | os.WNOHANG)  # it may have ended before execve
        if reaped:
            return status
        known = zombie_status(pid)
        self.keep([pid])
        return _UNKNOWN if known is None else known

    def end(self, pid: int, pidfd: int) -> None:
        """Kill and reap a child that is on its way out anyway.

        Somebody in its pid namespace may have stopped it on that way: it would be for ever.
        """
        try:
            send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        has_ended(pidfd, _DYING_S)
        self.reap(pid)

    def keep(self, pids: list[int]) -> None:
        """Reap them when that can be done."""
        if pids and not self.kept:
            self._loop.after(_AGAIN_S, self._again)
        self.kept.update(pids)

    def _again(self) -> None:
        self.kept = {pid for pid in self.kept if not os.waitpid(pid, WALL | os.WNOHANG)[0]}
        if self.kept:
            self._loop.after(_AGAIN_S, self._again)
