"""The request "start" of a task that comes back from a checkpoint."""

from __future__ import annotations

import os

from corten.linux.deletion import delete_tree
from corten.linux.process import exit_code
from corten.supervisor.loop import READ
from corten.task import restore
from corten.task.channel import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.linux.cgroups.protocol import CgroupManager
    from corten.supervisor.loop import Loop
    from corten.task.setup import TaskSetup

_SAID = 3  # lines of criu's complaints that are passed on


_WORK = "restore-"


def work_directory(exec_root: str, task_id: str) -> str:
    """Where criu works for a task."""
    return f"{exec_root}/{_WORK}{task_id}"


def sweep(exec_root: str, cgroups: CgroupManager) -> None:
    """End what an earlier supervisor had criu bring back, but nobody has recorded."""
    for name in os.listdir(exec_root):
        if not name.startswith(_WORK):
            continue
        if not os.path.exists(f"{exec_root}/tasks/{name.removeprefix(_WORK)}"):
            try:
                with open(f"{exec_root}/{name}/cgroup") as f:
                    cgroups.kill_all(f.read())
            except OSError:
                pass  # it had not come that far
        delete_tree(f"{exec_root}/{name}")


class PendingRestore:
    """criu at work: tells the pid of what it has brought back, or why not."""

    __slots__ = ("_on_done", "_on_failed", "_pid", "_work")

    def __init__(
        self,
        loop: Loop,
        setup: TaskSetup,
        request: dict[str, Any],
        *,
        work: str,
        netns_fd: int,
        on_done: Callable[[int], None],
        on_failed: Callable[[SetupError], None],
    ) -> None:
        """work: a directory that does not exist yet. Raises OSError."""
        self._work, self._on_done, self._on_failed = work, on_done, on_failed
        os.mkdir(work, 0o700)
        with open(f"{work}/cgroup", "w") as f:
            f.write(setup.cgroup_path)
        self._pid, pidfd = restore.launch(setup, request["restore"], work, netns_fd)

        def ended() -> None:
            loop.forget(pidfd)
            os.close(pidfd)
            self._ended(exit_code(os.waitpid(self._pid, 0)[1]))

        loop.watch(pidfd, ended, READ)

    def _ended(self, code: int) -> None:
        if code:
            why = f"criu failed: {self._complaints() or f'it exited with status {code}'}"
            delete_tree(self._work)
            self._on_failed(SetupError(5, "restore", why))
            return
        with open(f"{self._work}/pid") as f:
            pid = int(f.read())
        self._on_done(pid)
        delete_tree(self._work)  # only now: what is recorded is a successor's to adopt, not to end

    def _complaints(self) -> str:
        try:
            with open(f"{self._work}/restore.log", errors="replace") as f:
                said = [line.partition(": ")[2].strip() for line in f if "Error (" in line]
        except FileNotFoundError:
            return ""
        return "; ".join(said[:_SAID])
