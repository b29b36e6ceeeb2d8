"""Starting tasks and further processes in them: the supervisor's side of a status channel."""

from __future__ import annotations

import errno
import os
import signal

from corten.linux import namespaces as ns
from corten.linux import process
from corten.linux.pidfd import send_signal
from corten.supervisor.peers import RequestError
from corten.task import channel, launch
from corten.task.channel import SetupError
from corten.task.join import JoinSetup, join
from corten.task.setup import TaskSetup

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from corten.linux.cgroups.protocol import CgroupManager
    from corten.supervisor.loop import Loop
    from corten.supervisor.task import Task


def give_size(process: dict[str, Any], request: dict[str, Any]) -> None:
    """Put the request's terminal size, if any, into the process's document: it is set before execve."""
    if request.get("console_size"):
        rows, columns = request["console_size"]
        process["consoleSize"] = {"height": rows, "width": columns}


class Stdio:
    """Pipes for a new process: the child's ends in `child`, ours by name.

    given: the child's ends of stdout and stderr, if others have made the pipes; ours to close from now on.
    Raises OSError: then nothing has been made or taken.
    """

    __slots__ = ("child", "stderr", "stdin", "stdout")

    def __init__(
        self, *, stdin: bool, stdout: bool, stderr: bool, null_fd: int, given: Sequence[int] = ()
    ) -> None:
        self.stdin = self.stdout = self.stderr = -1
        ends = [null_fd, *(given or (null_fd, null_fd))]
        try:
            if stdin:
                ends[0], self.stdin = os.pipe2(os.O_CLOEXEC)
            if stdout and not given:
                self.stdout, ends[1] = os.pipe2(os.O_CLOEXEC)
            if stderr and not given:
                self.stderr, ends[2] = os.pipe2(os.O_CLOEXEC)
        except OSError:
            for fd in {*ends, self.stdin, self.stdout, self.stderr} - {null_fd, -1, *given}:
                os.close(fd)
            raise
        self.child: tuple[int, int, int] = (ends[0], ends[1], ends[2])

    def close_child(self, null_fd: int) -> None:
        """Close the child's ends, if they still are open; EOF can be seen from then on."""
        for fd in self.child:
            if fd != null_fd:
                os.close(fd)
        self.child = (null_fd, null_fd, null_fd)

    def close_ours(self) -> None:
        """Close our ends (the start has failed)."""
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)


_STOP_CHECK_S = 0.5
_FINISH_S = 5.0


class PendingStart:
    """A process between clone3 and execve: listens to its channel, then tells how it went.

    asks: what it will tell or ask for on its way ("born", "cgroup", "console"); after all that it is `ready`.
    One that was cloned with TaskSetup.held goes no further than that before `go`.

    In a pid namespace with others in it (exec, --pid=container:X) those may stop it on its way. It would
    be pending for ever, with whatever descriptors it had: who is found stopped is killed.
    """

    __slots__ = (
        "_asks", "_launched", "_loop", "_on_born", "_on_cgroup", "_on_done", "_on_failed", "_on_ready",
        "_on_terminal", "_sock", "_stopped", "_timer", "_told",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        launched: launch.Launched,
        *,
        asks: Iterable[str],
        on_born: Callable[[], None],
        on_cgroup: Callable[[], None],
        on_terminal: Callable[[int], None],
        on_ready: Callable[[], None],
        on_done: Callable[[], None],
        on_failed: Callable[[SetupError], None],
    ) -> None:
        """on_terminal: takes over the pty master. on_ready: called when it has got what it asks for; at the
        latest now."""
        self._loop, self._launched, self._sock = loop, launched, launched.sock
        self._on_born, self._on_cgroup, self._on_terminal = on_born, on_cgroup, on_terminal
        self._on_ready, self._on_done, self._on_failed = on_ready, on_done, on_failed
        self._asks = set(asks)
        self._stopped = self._told = False
        self._sock.setblocking(False)
        loop.watch(self._sock.fileno(), self.readable)
        self._timer = loop.after(_STOP_CHECK_S, self._check)

    @property
    def ready(self) -> bool:
        """Whether it has got all that it asks for."""
        return not self._asks

    @property
    def waits(self) -> bool:
        """Whether `go` is still to come."""
        return not self._told and self.status_fd >= 0

    @property
    def status_fd(self) -> int:
        """Our end of its channel; -1 when all has been said there."""
        return self._sock.fileno()

    def go(self) -> None:
        """Let it become its program."""
        self._told = True
        try:
            channel.tell(self._sock, {"go": 1})
        except OSError:
            pass  # it has ended: its channel says so, and perhaps why

    def fail(self, error: SetupError) -> None:
        """It is not to be."""
        self._close()
        self._on_failed(error)

    def _check(self) -> None:
        self._timer = self._loop.after(_STOP_CHECK_S, self._check)
        pidfd = self._launched.pidfd
        if pidfd >= 0 and process.is_stopped(pidfd):
            self._stopped = True
            send_signal(pidfd, signal.SIGKILL)  # its channel ends
        if self._launched.free_maker is not None:
            self._launched.free_maker()

    def readable(self) -> None:
        """Handle one message of the child."""
        try:
            channel.check(self._sock)  # an error stays there until we have acted on it, for a successor
            message, fds = channel.hear(self._sock)
            if message is not None and "born" in message:
                self._on_born()
                self._answered("born")
            elif message is not None and "cgroup" in message:
                self._on_cgroup()
                channel.tell(self._sock, {"go": 1})
                self._answered("cgroup")
        except BlockingIOError:
            return
        except (SetupError, OSError) as e:
            self.fail(e if isinstance(e, SetupError) else SetupError.of(e, "start container process"))
            return
        if message is None:
            if self._stopped:
                self.fail(SetupError(errno.EINTR, "start", "stopped by a process of the container"))
            else:
                self._close()
                self._on_done()
        elif "console" in message and fds:
            self._on_terminal(fds[0])
            self._answered("console")

    def _answered(self, what: str) -> None:
        self._asks.discard(what)
        if not self._asks:
            self._on_ready()

    def _close(self) -> None:
        self._timer.cancel()
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        self._launched.end_helper()


def finish(sock: socket.socket, pidfd: int) -> SetupError | None:
    """Finish the start of a task that a supervisor before us has begun: why it failed, None if it runs.

    sock: our end of its channel, which the log writer has kept. Waits for a process that has all it needs;
    one that takes too long over it (it may have been stopped) is killed.
    """
    try:
        channel.tell(sock, {"go": 1})  # perhaps once more: one word is heard
    except OSError:
        pass  # usual: it has become its program, or ended
    sock.settimeout(_FINISH_S)
    try:
        while channel.hear(sock)[0] is not None:
            pass
    except SetupError as e:
        return e
    except TimeoutError:
        send_signal(pidfd, signal.SIGKILL)
        return SetupError(errno.ETIMEDOUT, "start", "took too long")
    return None


def task_setup(
    request: dict[str, Any],
    stdio: Stdio | None,
    *,
    cgroups: CgroupManager,
    mountpoint: str,
    seccomp: bytes | None,
    nofile: tuple[int, int],
) -> TaskSetup:
    """What `corten.task` needs, from a "start" request."""
    give_size(request["spec"]["process"], request)
    return TaskSetup(
        request["spec"],
        overlay=request.get("overlay"),
        mountpoint=mountpoint,
        cgroups=cgroups,
        cgroup_path=request["spec"]["linux"]["cgroupsPath"],
        stdio=None if stdio is None else stdio.child,
        seccomp=seccomp,
        held=True,
        nofile=nofile,
    )


def start_error(error: SetupError) -> RequestError:
    """The answer to a "start" or "exec" request whose process did not come to be."""
    return RequestError("start", error.message, errno=error.number, stage=error.stage)


def clone_task(setup: TaskSetup, task: Task, netns_fd: int) -> launch.Launched:
    """Clone the task's init and note what identifies it. Raises SetupError."""
    launched = launch.launch(setup, netns_fd=netns_fd)
    identify(task, launched)
    return launched


def identify(task: Task, launched: launch.Launched) -> None:
    """Note who the task's init is. Raises OSError."""
    task.pid, task.pidfd = launched.pid, launched.pidfd
    task.start_time = process.start_time(launched.pid)
    try:
        task.mnt_fd = ns.open_namespace(launched.pid, "mnt")
    except OSError:
        pass  # already a zombie: its namespaces are gone, and with them what this was to spare it


def clone_exec(
    request: dict[str, Any],
    task: Task,
    stdio: Stdio | None,
    *,
    cgroups: CgroupManager,
    seccomp: bytes | None,
    nofile: tuple[int, int],
) -> launch.Launched:
    """Clone a further process into `task`. Raises SetupError."""
    return join(
        JoinSetup(
            task.pid,
            task.pidfd,
            request["process"],
            cgroups=cgroups,
            cgroup_path=task.cgroup,
            stdio=None if stdio is None else stdio.child,
            seccomp=seccomp,
            nofile=nofile,
        )
    )
