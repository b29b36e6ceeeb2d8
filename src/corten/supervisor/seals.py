"""Whose further processes may be made on the nursery's memory, and whose not: the one rule.

Others in the pid namespace see such a process before its execve(2), and who could reach into its memory
then would have reached a process of the host's root. It is not dumpable: so ptrace(2), /proc/PID/mem,
pidfd_getfd(2) and their like want CAP_SYS_PTRACE in the user namespace that the memory belongs to, ours
(kernel: __ptrace_may_access; CAP_PERFMON and CAP_SYS_ADMIN may look, may_access_mm). Rights in another user
namespace do not count. So a task is sealed while nobody in its pid namespace can have one of the three:

    sealed      its pid namespace is new with it, and it is given none of them
    no more     an exec in it is given one; another task comes to its pid namespace
    never       it shares a pid namespace, was restored from a checkpoint, or was adopted: who knows

A seal that is broken stays so, and it is kept in memory only: a crash breaks all, an upgrade hands them over.
Nothing is said of whom the host's root brings in past us (nsenter(1), another engine with a path).
"""

from __future__ import annotations

import os

from corten.linux.capabilities import mask_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.nursery import Nursery
    from corten.supervisor.task import Task

_REACHING = ("CAP_SYS_PTRACE", "CAP_PERFMON", "CAP_SYS_ADMIN")
# fs.suid_dumpable: what a process becomes when it changes its ids, until it says no again (`credentials`).
# With 1 it were its user's for that moment: proc_sys_fs(5).
_NOT_TO_USERS = (b"0\n", b"2\n")


class Seals:
    """Of the supervisor's tasks."""

    __slots__ = ("_nursery", "_tasks")

    def __init__(self, tasks: dict[str, Task], nursery: Nursery) -> None:
        self._tasks, self._nursery = tasks, nursery

    def allow_init(self, spec: dict[str, Any]) -> bool:
        """Whether a task's init may be made on shared memory: where nobody is before it."""
        return _pid_namespace(spec) == "" and _users_reach_nobody()

    def task_comes(self, task: Task, spec: dict[str, Any], *, restored: bool) -> None:
        """To be called before a task is started."""
        path = _pid_namespace(spec)
        task.sealed = path == "" and not restored and not _reaches(spec["process"])
        if path:
            shared = _namespace(path)
            for other in self._tasks.values():
                if _has_seal(other) and (shared is None or _namespace(f"/proc/{other.pid}/ns/pid") == shared):
                    self._break(other)

    def exec_comes(self, task: Task, process: dict[str, Any]) -> None:
        """To be called before a further process is made, in whatever way."""
        if _has_seal(task) and _reaches(process):
            self._break(task)

    def allow_sharing(self, task: Task) -> bool:
        """Whether a further process of the task may be made on shared memory now."""
        return task.sealed and _users_reach_nobody()

    def _break(self, task: Task) -> None:
        task.sealed = False
        # Somebody may be on his way, stopped until the one comes who can: his memory shall be his alone.
        if self._nursery.busy:
            self._nursery.end()


def _reaches(process: dict[str, Any]) -> bool:
    sets: dict[str, Any] | None = process.get("capabilities")
    if sets is None:
        return True  # it keeps ours
    reaching = mask_of(_REACHING)
    return any(mask_of(names or ()) & reaching for names in sets.values())


def _has_seal(task: Task) -> bool:
    """Whether somebody on shared memory may be in there: an exec, or the init itself while it starts."""
    return task.sealed or task.starting is not None


def _pid_namespace(spec: dict[str, Any]) -> str | None:
    """The path of the one to join; "" for a new one, None for the host's."""
    joined = {each["type"]: each.get("path") or "" for each in spec["linux"].get("namespaces") or ()}
    return joined.get("pid")


def _users_reach_nobody() -> bool:
    return _read("/proc/sys/fs/suid_dumpable") in _NOT_TO_USERS


def _namespace(path: str) -> tuple[int, int] | None:
    """What identifies a namespace; None if that cannot be told."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)
