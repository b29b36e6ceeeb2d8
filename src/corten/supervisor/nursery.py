"""The supervisor's side of the nursery (`corten.task.nursery`), which is there from its first use on."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import deque

from corten.linux import process, seqpacket
from corten.linux.pidfd import has_ended, pidfd_open, send_signal
from corten.linux.vfork import LastMade
from corten.task import channel, nursery
from corten.task.join import namespaces_of
from corten.task.launch import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from corten.linux.cgroups.protocol import CgroupManager
    from corten.supervisor.loop import Loop
    from corten.supervisor.reaper import Reaper
    from corten.supervisor.task import Task
    from corten.task.setup import TaskSetup


def is_worth_it(cgroups: CgroupManager) -> bool:
    """Whether a nursery is quicker than a fork, of which it saves some 4 ms: who it makes joins a cgroup.

    With cgroup v2 that alone takes 6 ms (a grace period of RCU, for cgroup_threadgroup_rwsem), unless others
    have done so just before; a fork is born there (CLONE_INTO_CGROUP).
    """
    return cgroups.version == "v1"


def can_make_init(spec: dict[str, Any]) -> bool:
    """Whether a nursery can make this init, by clone(2).

    Into user namespaces leads another way, and of time namespaces clone(2) does not know.
    """
    return {each["type"] for each in spec["linux"].get("namespaces") or ()}.isdisjoint(("user", "time"))


_PATIENCE_S = 0.1  # with an init, which usually takes 0.004


class Nursery:
    """One process is made at a time: while it is `busy` others are to be made without it."""

    __slots__ = (
        "_awaited", "_loop", "_made", "_made_has_ended", "_pid", "_pidfd", "_reaper", "_sock", "_waiting",
        "_works_for",
    )  # fmt: skip

    def __init__(self, loop: Loop, reaper: Reaper) -> None:
        self._loop, self._reaper = loop, reaper
        self._pid = self._pidfd = -1
        self._sock: socket.socket | None = None
        self._works_for: Launched | None = None
        self._awaited = False  # whether it makes what is worth waiting for
        self._waiting: deque[Callable[[], None]] = deque()
        self._made = LastMade()
        self._made_has_ended = False

    @property
    def busy(self) -> bool:
        """Whether it makes a process now."""
        return self._works_for is not None

    def when_free(self, then: Callable[[], None]) -> None:
        """Call `then`, who wants an init made, when no other is being made: that is worth waiting for.

        Unless it takes long, in a cgroup with little CPU time, say. For execs nobody waits: processes of a
        container may hold one up.
        """
        if not self._awaited and not self._waiting:
            then()
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            self._be_patient()

    def _be_patient(self) -> None:
        works_for = self._works_for

        def enough() -> None:
            if self._works_for is works_for:
                self._awaited = False  # they go on without us, who are busy
                self._go_on()

        self._loop.after(_PATIENCE_S, enough)

    def _go_on(self) -> None:
        while self._waiting and not self._awaited:
            self._waiting.popleft()()
        if self._waiting:
            self._be_patient()

    def launch_init(self, request: dict[str, Any], setup: TaskSetup, netns_fd: int) -> Launched | None:
        """Have a task's init made; None if that has to be done without the nursery.

        When it says that it is born, `identify` tells who it is. When its channel ends without that,
        `has_made` is to be asked, otherwise `let_go` to be told.
        """
        joins_network = netns_fd >= 0
        message = {
            "spec": setup.spec,
            "overlay": setup.overlay,
            "mountpoint": setup.mountpoint,
            "cgroup": setup.cgroup_path,
            "seccomp": request.get("seccomp"),
            "nofile": setup.nofile,
            "joins_network": joins_network,
        }
        launched = self._launch(message, [*(setup.stdio or ()), *([netns_fd] if joins_network else [])])
        self._awaited = launched is not None  # if not, then whom it makes has taken too long
        return launched

    def launch_exec(
        self,
        request: dict[str, Any],
        task: Task,
        stdio: tuple[int, int, int] | None,
        nofile: tuple[int, int],
    ) -> Launched | None:
        """Have a further process made; None if that has to be done without the nursery.

        When its channel ends `has_made` is to be asked, and if an error comes there `let_go` to be told.
        """
        try:
            flags = namespaces_of(task.pid)
        except OSError:
            return None
        message = {
            "process": request["process"],
            "pid": task.pid,
            "flags": flags,
            "cgroup": task.cgroup,
            "seccomp": request.get("seccomp"),
            "nofile": nofile,
        }
        return self._launch(message, [*(stdio or ()), task.pidfd])

    def _launch(self, message: dict[str, Any], fds: Sequence[int]) -> Launched | None:
        if self.busy:
            return None
        if self._sock is not None and has_ended(self._pidfd):
            self.end()
        mine, theirs = channel.pair()
        try:
            if self._sock is None:
                self._pid, self._pidfd, self._sock = nursery.start(self._made)
            self._made.forget()
            self._made_has_ended = False
            seqpacket.send(self._sock, json.dumps(message).encode(), [theirs.fileno(), *fds])
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
            if process.is_stopped(pidfd) or self._made_has_ended:
                send_signal(pidfd, signal.SIGKILL)
                stuck = True
            self._made_has_ended = has_ended(pidfd)  # by the next time it is to have told why
            os.close(pidfd)
        if stuck:
            self.end()

    def has_made(self, launched: Launched) -> bool:
        """Whether a process whose channel has ended is its program now; nothing is left of others."""
        ours = self._works_for is launched
        self._forget(launched)
        made = launched.pid > 0 and not process.is_silent(launched.pidfd)
        if launched.pid > 0 and not made:
            self._reaper.end(launched.pid, launched.pidfd)
            os.close(launched.pidfd)
        if ours and not made:
            self.end()
        return made

    def let_go(self, launched: Launched) -> None:
        """What was to be made has become its program, or has failed and told why."""
        self._forget(launched)

    def _forget(self, launched: Launched) -> None:
        if self._works_for is launched:
            self._works_for = launched.free_maker = None
            self._awaited = False
            if self._waiting:  # not in the midst of what has led here, which may be another start
                self._loop.after(0, self._go_on)
            self._identify(launched)

    def identify(self, launched: Launched) -> None:
        """Who it is that says to be born."""
        if self._works_for is launched:  # else that is known since we let go of it
            self._identify(launched)

    def _identify(self, launched: Launched) -> None:
        if self._made.pid and launched.pid < 0:
            # A child of ours, which nobody but we can reap: it has the number still.
            launched.pid, launched.pidfd = self._made.pid, pidfd_open(self._made.pid)

    def end(self) -> None:
        """End it. A process that it is making goes on, with memory that is nobody else's any more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self._reaper.end(self._pid, self._pidfd)
            os.close(self._pidfd)
        if self._works_for is not None:
            self.let_go(self._works_for)
