"""What the supervisor knows of one task."""

from __future__ import annotations

import json
import os

from corten.linux.pidfd import send_signal
from corten.supervisor.journal import ExitRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.starts import PendingStart


class Task:
    """A container's running side. Descriptors are ours; -1 means there is none (any more).

    stdout_fd, stderr_fd are duplicates of what the log writer reads: if it dies, nothing is lost. With a
    terminal stdout_fd is a pipe's that the log writer fills (feed_fd) with what comes from master_fd.
    mnt_fd keeps the mount namespace, so that the slow unmounting is not the dying process's work.
    starting: its way to becoming its program, while it is on that. sealed: see `corten.supervisor.seals`.
    """

    __slots__ = (
        "cgroup",
        "drained",
        "exit",
        "feed_fd",
        "id",
        "log",
        "master_fd",
        "mnt_fd",
        "oom_fd",
        "pid",
        "pidfd",
        "runtime",
        "sealed",
        "start_time",
        "starting",
        "stderr_fd",
        "stdin_fd",
        "stdout_fd",
        "terminal",
    )

    def __init__(
        self,
        task_id: str,
        cgroup: str,
        log: dict[str, Any],
        terminal: bool,
        runtime: dict[str, Any] | None = None,
    ) -> None:
        self.id, self.cgroup, self.log, self.terminal = task_id, cgroup, log, terminal
        self.runtime = runtime  # {"name", "path", "arguments"} of another OCI runtime, or None
        self.pid = 0
        self.start_time = 0
        self.pidfd = self.stdin_fd = self.stdout_fd = self.stderr_fd = self.master_fd = -1
        self.feed_fd = self.mnt_fd = self.oom_fd = -1
        self.exit: ExitRecord | None = None
        self.drained = self.sealed = False
        self.starting: PendingStart | None = None

    @property
    def life(self) -> tuple[str, int, int]:
        """What no other task has, not even the same container's before or after this one."""
        return self.id, self.pid, self.start_time

    def kept_fds(self) -> dict[str, int]:
        """The descriptors that the log writer gets, by name: what it reads and what our successors need."""
        named = {
            "master": self.master_fd,
            "feed": self.feed_fd,
            "stdout": self.stdout_fd,
            "stderr": self.stderr_fd,
            "stdin": self.stdin_fd,
            "pid": self.pidfd,
            "status": -1 if self.starting is None else self.starting.status_fd,
        }
        return {name: fd for name, fd in named.items() if fd >= 0}

    def alive(self) -> bool:
        """Whether its init is there, be it as a zombie."""
        try:
            send_signal(self.pidfd, 0)
        except OSError:
            return False
        return True

    def close_stdio(self) -> None:
        """Close its process's descriptor and all that its input and output go through."""
        self.close("pidfd", "stdin_fd", "stdout_fd", "stderr_fd", "master_fd", "feed_fd")

    def close(self, *names: str) -> None:
        """Close the named descriptors, those that are open."""
        for name in names:
            fd = getattr(self, name)
            setattr(self, name, -1)
            if fd >= 0:
                os.close(fd)

    def document(self) -> dict[str, Any]:
        """What a later supervisor needs in order to adopt this task."""
        return {
            "id": self.id,
            "pid": self.pid,
            "start_time": self.start_time,
            "cgroup": self.cgroup,
            "log": self.log,
            "terminal": self.terminal,
            "runtime": self.runtime,
        }

    @staticmethod
    def of(document: dict[str, Any]) -> Task:
        """The task of such a document, as yet without descriptors."""
        task = Task(
            document["id"], document["cgroup"], document["log"], document["terminal"], document["runtime"]
        )
        task.pid, task.start_time = document["pid"], document["start_time"]
        return task


class Records:
    """The directory of task records: EXEC_ROOT/tasks/<id>."""

    __slots__ = ("_dirfd",)

    def __init__(self, path: str) -> None:
        os.makedirs(path, 0o700, exist_ok=True)
        self._dirfd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def write(self, task: Task) -> None:
        """Create or replace the task's record. tmpfs: rename is atomic towards our own crash."""
        fresh = f".{task.id}"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self._dirfd)
        try:
            os.write(fd, json.dumps(task.document()).encode())
        finally:
            os.close(fd)
        os.rename(fresh, task.id, src_dir_fd=self._dirfd, dst_dir_fd=self._dirfd)

    def remove(self, task_id: str) -> None:
        """Drop the record, if there is one."""
        try:
            os.unlink(task_id, dir_fd=self._dirfd)
        except FileNotFoundError:
            pass

    def read_all(self) -> list[Task]:
        """All tasks recorded; half-written files are removed."""
        tasks = []
        for name in os.listdir(self._dirfd):
            if name.startswith("."):
                os.unlink(name, dir_fd=self._dirfd)
                continue
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._dirfd)
            with open(fd, "rb") as f:
                tasks.append(Task.of(json.loads(f.read())))
        return tasks
