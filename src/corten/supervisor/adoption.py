"""Taking over tasks that another supervisor started: they run on, we only have to find them."""

from __future__ import annotations

import json
import os

from corten.linux import namespaces as ns
from corten.linux import pidfd, process, seqpacket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.task import Task


def reopen(task: Task) -> bool:
    """Open the task's process again, if pid and start time say it is still the same one."""
    try:
        fd = pidfd.pidfd_open(task.pid)
    except OSError:
        return False
    try:
        same = process.start_time(task.pid) == task.start_time
    except OSError:
        same = False
    if not same:
        os.close(fd)
        return False
    task.pidfd = fd
    return True


def hold_mounts(task: Task) -> None:
    """Keep the task's mount namespace open (see Task.mnt_fd), if it still has one."""
    try:
        task.mnt_fd = ns.open_namespace(task.pid, "mnt")
    except OSError:
        pass


class HeldOutput:
    """What the log writer has of a task: descriptors by name, and whether it has read to the end."""

    __slots__ = ("drained", "fds")

    def __init__(self, fds: dict[str, int], *, drained: bool) -> None:
        self.fds, self.drained = fds, drained


NO_OUTPUT = HeldOutput({}, drained=True)


def fetch_outputs(path: str) -> dict[str, HeldOutput]:
    """Ask a living log writer for what it holds, by task id. Empty if there is none."""
    found: dict[str, HeldOutput] = {}
    try:
        sock = seqpacket.connect(path)
    except OSError:
        return found
    with sock:
        sock.settimeout(10)
        seqpacket.send(sock, b'{"n":1,"op":"dump"}')
        while True:
            data, fds = seqpacket.receive(sock)
            message: dict[str, Any] = json.loads(data) if data else {"end": True}
            if message.get("end"):
                return found
            named = dict(zip(message["fds"], fds, strict=True))
            found[message["id"]] = HeldOutput(named, drained=message["drained"])


def take_output(task: Task, held: HeldOutput) -> None:
    """Give the task what the log writer kept for it.

    Its pidfd among them: also of a process that is gone by now it tells how it ended (Linux 6.15).
    """
    names = {
        "master": "master_fd",
        "stdout": "stdout_fd",
        "stderr": "stderr_fd",
        "stdin": "stdin_fd",
        "pid": "pidfd",
    }
    for name, fd in held.fds.items():
        setattr(task, names[name], fd)
    task.drained = held.drained
