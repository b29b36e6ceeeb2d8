"""Taking over tasks that another supervisor started: they run on, we only have to find them."""

from __future__ import annotations

import json
import os
import signal
import socket

from corten.linux import namespaces as ns
from corten.linux import pidfd, process, seqpacket
from corten.supervisor import starts

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
    """What the log writer has of a task: descriptors by name, and whether it has read to the end.

    status_fd: the channel over which its start is told, which may have ended long ago; -1 if it had none.
    """

    __slots__ = ("drained", "fds", "status_fd")

    def __init__(self, fds: dict[str, int], *, drained: bool) -> None:
        self.fds, self.drained = fds, drained
        self.status_fd = fds.pop("status", -1)


def no_output() -> HeldOutput:
    """Of a task that the log writer does not know: it has died, too, or has let go of it."""
    return HeldOutput({}, drained=True)


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
        "feed": "feed_fd",
        "stdout": "stdout_fd",
        "stderr": "stderr_fd",
        "stdin": "stdin_fd",
        "pid": "pidfd",
    }
    for name, fd in held.fds.items():
        setattr(task, names[name], fd)
    task.drained = held.drained


def finish_start(task: Task, held: HeldOutput) -> bool:
    """Wait for a start that was under way; False if the task has failed to become its program."""
    if held.status_fd < 0:
        return True
    with socket.socket(fileno=held.status_fd) as sock:
        return starts.finish(sock, task.pidfd) is None


def end_unrecorded(held: HeldOutput) -> None:
    """End the process of a start that did not come so far as to be recorded: it waits for its "go"."""
    if held.status_fd >= 0:
        os.close(held.status_fd)
    fd = held.fds.get("pid", -1)
    if fd >= 0:
        try:
            pidfd.send_signal(fd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # as most are: forgotten before the log writer let go of them
    for each in held.fds.values():
        os.close(each)
