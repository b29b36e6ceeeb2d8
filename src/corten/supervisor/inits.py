"""A task's init on its way: made by the nursery where that may be, otherwise by a fork of ours."""

from __future__ import annotations

import errno
import os

from corten.linux import process
from corten.linux.pidfd import has_ended
from corten.supervisor import starts
from corten.task.channel import SetupError
from corten.task.launch import join_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.supervisor import Supervisor
    from corten.supervisor.task import Task
    from corten.task.launch import Launched
    from corten.task.setup import TaskSetup

_KILLED = 128  # so many and more: by a signal
_DYING_S = 1.0  # at most, after the channel has been closed


class Init:
    """One of our own, not another OCI runtime's."""

    __slots__ = ("_netns_fd", "_on_done", "_on_failed", "_on_terminal", "_setup", "_stdio", "_super", "_task")

    def __init__(
        self,
        supervisor: Supervisor,
        task: Task,
        setup: TaskSetup,
        stdio: starts.Stdio | None,
        *,
        on_terminal: Callable[[int], None],
        on_done: Callable[[], None],
        on_failed: Callable[[SetupError], None],
    ) -> None:
        """on_terminal: takes over the pty master. on_done: it runs, or has ended without having told why."""
        self._super, self._task, self._setup, self._stdio = supervisor, task, setup, stdio
        self._on_terminal, self._on_done, self._on_failed = on_terminal, on_done, on_failed
        self._netns_fd = -1

    def begin(self, request: dict[str, Any], netns_fd: int, *, shares: bool) -> None:
        """Have it made, if it `shares` by the nursery. Raises SetupError; from then on it is told."""
        if shares:
            self._netns_fd = os.dup(netns_fd) if netns_fd >= 0 else -1
            launched = self._super.nursery.launch_init(request, self._setup, netns_fd)
            if launched is not None:
                self._wait(launched, shares=True)
                return
        self._fork(netns_fd)

    def _fork(self, netns_fd: int) -> None:
        try:
            launched = starts.clone_task(self._setup, self._task, netns_fd)
        finally:
            self._close_childs()
        self._wait(launched, shares=False)

    def _wait(self, launched: Launched, *, shares: bool) -> None:
        task = self._task
        told = {"born": shares, "cgroup": self._setup.preparing, "console": task.terminal}
        task.starting = starts.PendingStart(
            self._super.loop,
            launched,
            asks=[what for what, so in told.items() if so],
            on_born=lambda: self._born(launched),
            on_cgroup=lambda: join_cgroup(self._setup, task.pid),
            on_terminal=self._on_terminal,
            on_ready=lambda: self._super.log(task),
            on_done=lambda: self._done(launched),
            on_failed=lambda error: self._failed(launched, error),
        )
        self._super.tasks[task.id] = task
        if task.starting.ready:
            self._super.log(task)

    def _born(self, launched: Launched) -> None:
        self._super.nursery.identify(launched)
        starts.identify(self._task, launched)
        self._close_childs()

    def _done(self, launched: Launched) -> None:
        if self._task.pid:
            self._super.nursery.let_go(launched)
            if self._could_not_tell(launched):
                text = "failed, and the process that would have told why was killed"
                self._failed(launched, SetupError(errno.EINTR, "start", text))
            else:
                self._on_done()
            return
        # The nursery has died, or was ended, before anything was done.
        self._super.nursery.has_made(launched)
        try:
            self._fork(self._netns_fd)
        except (SetupError, OSError) as e:
            self._fail(e if isinstance(e, SetupError) else SetupError.of(e, "start container process"))

    @staticmethod
    def _could_not_tell(launched: Launched) -> bool:
        """Whether it has failed by itself, with a nursery that died before it could say so."""
        if not process.is_silent(launched.pidfd) or not has_ended(launched.pidfd, _DYING_S):
            return False
        status = process.zombie_status(launched.pid)
        return status is not None and process.exit_code(status) < _KILLED

    def _failed(self, launched: Launched, error: SetupError) -> None:
        self._super.nursery.let_go(launched)
        if launched.pid > 0:
            self._task.pidfd = launched.pidfd  # closed with the task, which may not have been born
            self._super.reaper.end(launched.pid, launched.pidfd)
        self._fail(error)

    def _fail(self, error: SetupError) -> None:
        self._close_childs()
        self._on_failed(error)

    def _close_childs(self) -> None:
        """What is the init's, and ours only as long as it could have to be made again."""
        if self._stdio is not None:
            self._stdio.close_child(self._super.null_fd)
        if self._netns_fd >= 0:
            os.close(self._netns_fd)
        self._netns_fd = -1
