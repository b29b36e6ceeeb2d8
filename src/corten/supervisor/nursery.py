"""The supervisor's side of the nursery (`corten.task.nursery`), which is there from the first exec on."""

from __future__ import annotations

import json
import os
import signal
import socket

from corten.linux import process, seqpacket
from corten.linux.pidfd import pids_of_pidfds
from corten.task import channel, nursery
from corten.task.join import namespaces_of
from corten.task.launch import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.task import Task


class Nursery:
    """One process is made at a time: while it is `busy` others are to be made without it."""

    __slots__ = ("_pid", "_pidfd", "_sock", "busy")

    def __init__(self) -> None:
        self._pid = self._pidfd = -1
        self._sock: socket.socket | None = None
        self.busy = False

    def launch(
        self,
        request: dict[str, Any],
        task: Task,
        stdio: tuple[int, int, int] | None,
        nofile: tuple[int, int],
    ) -> Launched | None:
        """Have a process made, unless busy; its pid comes through its channel, and none if the nursery dies.

        Raises OSError.
        """
        if self.busy:
            return None
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
        mine, theirs = channel.pair()
        try:
            fds = [task.pidfd, theirs.fileno(), *(stdio or ())]
            seqpacket.send(self._sock, json.dumps(message).encode(), fds)
        except OSError:
            mine.close()
            self.end()
            raise
        finally:
            theirs.close()
        self.busy = True
        return Launched(-1, -1, mine, lambda: self._kill_stopped(task.pid))

    def _kill_stopped(self, task_pid: int) -> None:
        """Whom it makes is in the task's pid namespace already, and may have been stopped by others there.

        Only the nursery could tell who that is, and it is suspended: it has his pidfd, and the task's.
        """
        for pid in pids_of_pidfds(self._pid) - {task_pid}:
            try:
                if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | process.WALL) is not None:
                    os.kill(pid, signal.SIGKILL)
            except ChildProcessError:
                pass

    def end(self) -> None:
        """End it."""
        if self._sock is None:
            return
        self._sock.close()
        self._sock = None
        process.end(self._pid, self._pidfd)
        os.close(self._pidfd)
        self.busy = False

    def lost(self) -> None:
        """Whom it was to make is not to be, or has died before it could tell who it was."""
        self.end()
        process.reap_silent()
