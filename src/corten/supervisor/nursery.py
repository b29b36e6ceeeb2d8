"""The supervisor's side of the nursery (`corten.task.nursery`), which is there from the first exec on."""

from __future__ import annotations

import json
import os
import signal
import socket

from corten.linux import process, seqpacket
from corten.task import channel, nursery
from corten.task.join import namespaces_of
from corten.task.launch import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.task import Task


class Nursery:
    """One process is made at a time: while it is `busy` others are to be made without it.

    Nursery and unfinished processes are our only children that give no signal at their end (`is_silent`).
    """

    __slots__ = ("_pid", "_pidfd", "_sock", "_works_for")

    def __init__(self) -> None:
        self._pid = self._pidfd = -1
        self._sock: socket.socket | None = None
        self._works_for: Launched | None = None

    @property
    def busy(self) -> bool:
        """Whether it makes a process now."""
        return self._works_for is not None

    def launch(
        self,
        request: dict[str, Any],
        task: Task,
        stdio: tuple[int, int, int] | None,
        nofile: tuple[int, int],
    ) -> Launched | None:
        """Have a process made; None if that has to be done without the nursery.

        When its channel ends `has_made` is to be asked, and if an error comes there `let_go` to be told.
        """
        if self.busy:
            return None
        mine, theirs = channel.pair()
        try:
            if self._sock is None:
                self._pid, self._pidfd, self._sock = nursery.start()
            message = {
                "process": request["process"],
                "pid": task.pid,
                "flags": namespaces_of(task.pid),
                "cgroup": task.cgroup,
                "seccomp": request.get("seccomp"),
                "nofile": nofile,
            }
            fds = [task.pidfd, theirs.fileno(), *(stdio or ())]
            seqpacket.send(self._sock, json.dumps(message).encode(), fds)
        except OSError:
            mine.close()
            self.end()
            return None
        finally:
            theirs.close()
        self._works_for = Launched(-1, -1, mine, self._free)
        return self._works_for

    def _free(self) -> None:
        """Others of the pid namespace may have stopped whom it makes: it would wait for ever."""
        states = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        found = os.waitid(os.P_ALL, 0, states | process.WCLONE)
        if found is not None:
            os.kill(found.si_pid, signal.SIGKILL)
            self.end()

    def has_made(self, launched: Launched) -> bool:
        """Whether a process whose channel has ended is its program now; nothing is left of others."""
        if launched.pidfd >= 0:
            if not process.is_silent(launched.pidfd):
                self.let_go(launched)
                return True
            process.end(launched.pid, launched.pidfd)
            os.close(launched.pidfd)
        if self._works_for is launched:
            self.end()
        process.reap_silent()
        return False

    def let_go(self, launched: Launched) -> None:
        """What was to be made has become its program, or has failed and told why."""
        if self._works_for is launched:
            self._works_for = None

    def end(self) -> None:
        """End it. A process that it is making goes on, with memory that is nobody else's any more."""
        self._works_for = None
        if self._sock is None:
            return
        self._sock.close()
        self._sock = None
        try:
            process.end(self._pid, self._pidfd)
        except ChildProcessError:
            pass  # reaped with others
        os.close(self._pidfd)
