"""The supervisor's side of the nursery (`corten.task.nursery`), which is there from the first exec on."""

from __future__ import annotations

import json
import os
import signal
import socket

from corten.linux import process, seqpacket
from corten.linux.pidfd import has_ended, pidfd_open, send_signal
from corten.linux.vfork import LastMade
from corten.task import channel, nursery
from corten.task.join import namespaces_of
from corten.task.launch import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.task import Task


class Nursery:
    """One process is made at a time: while it is `busy` others are to be made without it."""

    __slots__ = ("_made", "_pid", "_pidfd", "_sock", "_works_for")

    def __init__(self) -> None:
        self._pid = self._pidfd = -1
        self._sock: socket.socket | None = None
        self._works_for: Launched | None = None
        self._made = LastMade()

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
                self._pid, self._pidfd, self._sock = nursery.start(self._made)
            message = {
                "process": request["process"],
                "pid": task.pid,
                "flags": namespaces_of(task.pid),
                "cgroup": task.cgroup,
                "seccomp": request.get("seccomp"),
                "nofile": nofile,
            }
            fds = [task.pidfd, theirs.fileno(), *(stdio or ())]
            self._made.forget()
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
        """End it if it would wait for ever: others of the pid namespace may have stopped whom it makes.

        Or it goes wrong itself over one that has died, and left its memory in the middle of something.
        """
        stuck = process.is_stopped(self._pidfd)
        if self._made.pid:
            pidfd = pidfd_open(self._made.pid)
            if process.is_stopped(pidfd) or has_ended(pidfd):
                send_signal(pidfd, signal.SIGKILL)
                stuck = True
            os.close(pidfd)
        if stuck:
            self.end()

    def has_made(self, launched: Launched) -> bool:
        """Whether a process whose channel has ended is its program now; nothing is left of others."""
        ours = self._works_for is launched
        self.let_go(launched)
        if launched.pid > 0:
            if not process.is_silent(launched.pidfd):
                return True
            process.end(launched.pid, launched.pidfd)
            os.close(launched.pidfd)
        if ours:
            self.end()
        return False

    def let_go(self, launched: Launched) -> None:
        """What was to be made has become its program, or has failed and told why."""
        if self._works_for is not launched:
            return
        self._works_for = launched.free_maker = None
        if self._made.pid:
            # A child of ours, which nobody but we can reap: it has the number still.
            launched.pid, launched.pidfd = self._made.pid, pidfd_open(self._made.pid)

    def end(self) -> None:
        """End it. A process that it is making goes on, with memory that is nobody else's any more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            process.end(self._pid, self._pidfd)
            os.close(self._pidfd)
        if self._works_for is not None:
            self.let_go(self._works_for)
