"""Tasks run by another OCI runtime (runc, crun, runsc), under the same supervisor.

The runtime's `create` leaves the container's init behind; as its subreaper we become the parent, and
from then on such a task is like one of ours: pidfd, log, journal. What differs is kept here:

    bundle     EXEC_ROOT/bundles/<id>: task.json, config.json, and the overlay mounted on rootfs/
    start      `create`, then `start`, as child processes that the loop waits for
    exec       `exec --detach`
    kill ...   through the runtime, because with runsc the process we see is not the container's
    end        `delete --force`, unmount, remove the bundle: the janitor's work

Source: runtime-spec "Lifecycle"; runc(8).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct

from corten.linux import pidfd
from corten.linux.process import exit_code
from corten.supervisor.loop import READ
from corten.supervisor.process import report
from corten.supervisor.task import Task
from corten.task.channel import SetupError
from corten.task.operations.rootfilesystem import mount_overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.supervisor.loop import Loop


_CONSOLE = "tty-"


def sweep(exec_root: str) -> None:
    """Remove sockets that an earlier supervisor had no time to remove."""
    for name in os.listdir(exec_root):
        if name.startswith(_CONSOLE):
            os.unlink(f"{exec_root}/{name}")


class Program:
    """A runtime's executable, its own arguments, and where it keeps its state."""

    __slots__ = ("arguments", "exec_root", "path", "state_root")

    def __init__(self, document: dict[str, Any], exec_root: str) -> None:
        self.exec_root = exec_root
        self.path: str = document["path"]
        self.arguments: list[str] = list(document.get("arguments") or [])
        self.state_root = f"{exec_root}/runtimes/{document['name']}"

    def argv(self, *command: str, log: str = "") -> list[str]:
        """The command line of one of its commands."""
        to_log = ["--log", log, "--log-format", "json"] if log else []
        return [self.path, *self.arguments, "--root", self.state_root, *to_log, *command]


class Bundle:
    """EXEC_ROOT/bundles/<id>."""

    __slots__ = ("path",)

    def __init__(self, exec_root: str, task_id: str) -> None:
        self.path = f"{exec_root}/bundles/{task_id}"

    @property
    def rootfs(self) -> str:
        """Where the overlay is mounted."""
        return f"{self.path}/rootfs"

    @property
    def log(self) -> str:
        """Where the runtime writes why it failed."""
        return f"{self.path}/log.json"

    @property
    def task(self) -> Task | None:
        """Whose it is; None if it was never more than a directory."""
        try:
            with open(f"{self.path}/task.json") as f:
                return Task.of(json.load(f))
        except (OSError, ValueError):
            return None

    def make(self, task: Task, spec: dict[str, Any], overlay: dict[str, Any] | None, netns_fd: int) -> None:
        """Write the bundle and mount its root. Raises OSError."""
        os.makedirs(self.rootfs, 0o711)
        with open(f"{self.path}/task.json", "w") as f:
            json.dump(task.document(), f)
        if overlay is not None:
            mount_overlay(
                overlay["lower"],
                overlay["upper"],
                overlay["work"],
                self.rootfs,
                overlay.get("volatile", False),
            )
            spec["root"]["path"] = self.rootfs
        if netns_fd >= 0:
            for namespace in spec["linux"]["namespaces"]:
                if namespace["type"] == "network":
                    namespace["path"] = f"/proc/{os.getpid()}/fd/{netns_fd}"
        spec["ociVersion"] = "1.0.2"  # all of ours is in it, and older runtimes refuse what they don't know
        with open(f"{self.path}/config.json", "w") as f:
            json.dump(spec, f)

    def why(self, fallback: str) -> str:
        """The last error in the runtime's log."""
        try:
            with open(self.log) as f:
                for line in reversed(f.read().splitlines()):
                    document = json.loads(line)
                    if document.get("level") in ("error", "fatal"):
                        return str(document["msg"])
        except (OSError, ValueError, KeyError):
            pass
        return fallback


def failure(message: str) -> SetupError:
    """A runtime's complaint as ours: what its text says about the program decides errno and stage."""
    lowered = message.lower()
    if "not found in $path" in lowered:
        if "executable file not found" not in lowered:  # crun puts the name in between; clients look for this
            message = f"{message}: executable file not found in $PATH"
        return SetupError(2, "exec", message)
    if "exec" in lowered and "no such file" in lowered:
        return SetupError(2, "exec", message)
    if "permission denied" in lowered or "is a directory" in lowered:
        return SetupError(13, "exec", message)
    return SetupError(5, "run another OCI runtime", message)


def run(
    loop: Loop,
    argv: list[str],
    stdio: tuple[int, int, int] | None,
    on_end: Callable[[int], None],
    executable: str = "",
    limit_s: float = 0.0,
) -> None:
    """Start a program; call `on_end` with its exit code. Raises OSError.

    stdio: fds for 0, 1 and 2. executable: where it is, if not where argv says. limit_s: when to kill it,
    0 = never.
    """
    actions: list[Any] = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio or ())]
    pid = os.posix_spawn(
        executable or argv[0], argv, dict(os.environ), file_actions=actions, setsigmask=(), setsigdef=(13,)
    )
    fd = pidfd.pidfd_open(pid)

    def overdue() -> None:
        report(TimeoutError(f"{argv[0]} takes longer than {limit_s:g} s: killed"))
        pidfd.send_signal(fd, signal.SIGKILL)

    timer = loop.after(limit_s, overdue) if limit_s else None

    def ended() -> None:
        if timer is not None:
            timer.cancel()
        loop.forget(fd)
        os.close(fd)
        on_end(exit_code(os.waitpid(pid, 0)[1]))

    loop.watch(fd, ended, READ)


class ConsoleSocket:
    """Where a runtime delivers the master of the pty it has made (runc's docs/terminals.md)."""

    __slots__ = ("_listener", "_loop", "master_fd", "path")

    def __init__(self, loop: Loop, exec_root: str) -> None:
        # Not in the bundle: with two ids in it the path would be longer than the 107 bytes of a socket's.
        self.path = f"{exec_root}/{_CONSOLE}{os.urandom(6).hex()}"
        self._loop, self.master_fd = loop, -1
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listener.bind(self.path)
        self._listener.listen(1)
        loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(256, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
            for _, _, payload in ancillary:
                (self.master_fd,) = struct.unpack_from("i", payload)

    def close(self) -> None:
        """Stop listening."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        os.unlink(self.path)
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


class ExternalStart:
    """`create` then `start`; tells the pid, or why not. The bundle must have been made."""

    __slots__ = ("_bundle", "_console", "_id", "_loop", "_on_done", "_on_failed", "_program")

    def __init__(
        self,
        loop: Loop,
        program: Program,
        bundle: Bundle,
        task_id: str,
        stdio: tuple[int, int, int] | None,
        null_fd: int,
        on_done: Callable[[int, int], None],
        on_failed: Callable[[SetupError], None],
    ) -> None:
        """`stdio` None: with a terminal. `on_done(pid, master fd or -1)`. Raises OSError."""
        self._loop, self._program, self._bundle, self._id = loop, program, bundle, task_id
        self._on_done, self._on_failed = on_done, on_failed
        self._console = ConsoleSocket(loop, program.exec_root) if stdio is None else None
        os.makedirs(program.state_root, 0o700, exist_ok=True)
        command = ["create", "--bundle", bundle.path, "--pid-file", f"{bundle.path}/pid"]
        if self._console is not None:
            command += ["--console-socket", self._console.path]
        argv = program.argv(*command, task_id, log=bundle.log)
        try:
            run(loop, argv, stdio or (null_fd, null_fd, null_fd), self._created)
        except OSError:
            if self._console is not None:
                self._console.close()
            raise

    def _created(self, code: int) -> None:
        if code:
            self._fail(code)
            return
        argv = self._program.argv("start", self._id, log=self._bundle.log)
        run(self._loop, argv, None, self._started)

    def _started(self, code: int) -> None:
        if code:
            self._fail(code)
            return
        master = -1
        if self._console is not None:
            master = self._console.master_fd
            self._console.close()
        with open(f"{self._bundle.path}/pid") as f:
            self._on_done(int(f.read()), master)

    def _fail(self, code: int) -> None:
        if self._console is not None:
            self._console.close()
            if self._console.master_fd >= 0:
                os.close(self._console.master_fd)
        self._on_failed(failure(self._bundle.why(f"{self._program.path} exited with status {code}")))


def clean_request(program: Program, bundle: Bundle, task_id: str) -> dict[str, Any]:
    """What the janitor is told to do when such a task has ended."""
    return {"op": "unbundle", "argv": program.argv("delete", "--force", task_id), "path": bundle.path}


def bundles(exec_root: str) -> dict[str, Bundle]:
    """All that there are, by their tasks' ids."""
    try:
        return {task_id: Bundle(exec_root, task_id) for task_id in os.listdir(f"{exec_root}/bundles")}
    except FileNotFoundError:
        return {}
