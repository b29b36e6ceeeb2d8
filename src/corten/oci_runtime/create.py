"""create and exec: from a bundle to a process that waits, or from a process document to one that runs."""

from __future__ import annotations

import array
import errno
import os
import resource
import socket
import sys
import time

from corten.linux import cgroups, process
from corten.linux.personality import Personality
from corten.oci_runtime.container import Container
from corten.oci_runtime.errors import RuntimeFailure
from corten.task import channel, hooks, launch
from corten.task.channel import SetupError
from corten.task.init import compile_seccomp
from corten.task.join import JoinSetup, join
from corten.task.setup import TaskSetup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def create(
    root: str, container_id: str, bundle: str, spec: dict[str, Any], *, console_socket: str, keep_fds: int
) -> Container:
    """Bring a container to "created": all is set up, its init waits at the gate. Raises RuntimeFailure."""
    cgroup = spec["linux"].get("cgroupsPath") or f"/corten-oci/{container_id}"
    container = Container(
        root, container_id, {"bundle": bundle, "cgroup": "/" + cgroup.strip("/"), "spec": spec}
    )
    container.created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    os.makedirs(root, 0o700, exist_ok=True)
    try:
        os.mkdir(container.folder, 0o700)
    except FileExistsError:
        raise RuntimeFailure("container with given ID already exists") from None
    try:
        container.save()
        _launch(container, console_socket, keep_fds)
        container.save()
    except BaseException:
        _undo(container)
        raise
    return container


def _undo(container: Container) -> None:
    if container.pid:
        try:
            os.kill(container.pid, 9)
            os.waitpid(container.pid, 0)
        except OSError:
            pass
    for _ in range(50):
        try:
            container.remove()
            return
        except OSError as e:
            if e.errno != errno.EBUSY:
                return
            time.sleep(0.02)


def _launch(container: Container, console_socket: str, keep_fds: int) -> None:
    spec = container.spec
    manager = cgroups.manager()
    terminal = bool(spec["process"].get("terminal"))
    if terminal and not console_socket:
        raise RuntimeFailure("cannot allocate tty if runc will detach without setting console socket")
    try:
        manager.create(container.cgroup, spec["linux"].get("resources") or {})
    except OSError as e:
        raise RuntimeFailure(f"set up cgroup: {e}") from None
    gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    with _Near(container.gate_path) as near:
        gate.bind(near)
    gate.listen(1)
    setup = TaskSetup(
        spec,
        cgroups=manager,
        cgroup_path=container.cgroup,
        gate=gate,
        hooks=bool(spec.get("hooks")),
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE),
        keep_fds=keep_fds,
        state=container.state(),
    )
    try:
        with _personality(spec):
            launched = launch.launch(setup)
        os.close(launched.pidfd)
        container.pid, container.start_time = launched.pid, process.start_time(launched.pid)
        try:
            _serve_until_ready(setup, container, launched.sock, console_socket)
        finally:
            launched.end_helper()
    except SetupError as e:
        raise RuntimeFailure(f"unable to start container process: {e.message}") from None
    finally:
        gate.close()


def _personality(spec: dict[str, Any]) -> Personality:
    return Personality((spec["linux"].get("personality") or {}).get("domain", "LINUX"))


def _serve_until_ready(
    setup: TaskSetup, container: Container, sock: socket.socket, console_socket: str
) -> None:
    while True:
        message, fds = channel.hear(sock)
        if message is None:
            raise RuntimeFailure("container init died before it was ready")
        if "ready" in message:
            return
        if "cgroup" in message:
            launch.join_cgroup(setup, container.pid)
            channel.tell(sock, {"go": 1})
        elif "hooks" in message:
            _run_hooks(container, "prestart", "createRuntime")
            channel.tell(sock, {"go": 1})
        elif "console" in message:
            send_console(console_socket, fds[0])


def _run_hooks(container: Container, *points: str) -> None:
    state = {**container.state(), "pid": container.pid, "status": "creating"}
    for point in points:
        try:
            hooks.run_all((container.spec.get("hooks") or {}).get(point) or [], state)
        except OSError as e:
            raise RuntimeFailure(f"error running {point} hook: {e.filename}: {e.strerror}") from None


def run_hooks_leniently(container: Container, point: str) -> None:
    """poststart and poststop hooks: a failure is reported, life goes on (runtime.md "Lifecycle")."""
    try:
        hooks.run_all((container.spec.get("hooks") or {}).get(point) or [], container.state())
    except OSError as e:
        print(f"{point} hook: {e.filename}: {e.strerror}", file=sys.stderr)


class _Near:
    """A socket's path by way of its directory's descriptor: paths of sockets are limited to 107 bytes."""

    __slots__ = ("_directory", "_path")

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> str:
        folder, name = os.path.split(self._path)
        self._directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._directory}/{name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._directory)


def send_console(path: str, master: int) -> None:
    """Hand the pty master to whoever listens at --console-socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        sock.sendmsg([b"console"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [master]))])
    os.close(master)


def start(container: Container) -> None:
    """Let a created container go. Raises RuntimeFailure if it was not "created" or cannot execve."""
    status = container.status()
    if status != "created":
        raise RuntimeFailure(f"cannot start a container that has {status}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        with _Near(container.gate_path) as near:
            sock.connect(near)
        os.unlink(container.gate_path)
        try:
            channel.hear(sock)  # end of file: it has become its program
        except SetupError as e:
            raise RuntimeFailure(f"unable to start container process: {e.message}") from None
    run_hooks_leniently(container, "poststart")


def run_exec(
    container: Container, document: dict[str, Any], *, console_socket: str, keep_fds: int
) -> tuple[int, int]:
    """Start a further process with our stdio; returns (pid, master fd or -1). Raises RuntimeFailure."""
    task_pidfd = container.open_process()
    if task_pidfd is None or container.status() not in ("running", "created"):
        raise RuntimeFailure("cannot exec in a stopped container")
    program, flags = compile_seccomp(container.spec)
    setup = JoinSetup(
        container.pid,
        task_pidfd,
        document,
        cgroups=cgroups.manager(),
        cgroup_path=container.cgroup,
        stdio=None,
        seccomp=program,
        seccomp_flags=flags,
        keep_fds=keep_fds,
    )
    try:
        with _personality(container.spec):
            launched = join(setup)
        master = -1
        while True:
            message, fds = channel.hear(launched.sock)
            if message is None:
                return launched.pid, master
            if "console" in message:
                if console_socket:
                    send_console(console_socket, fds[0])
                else:
                    master = fds[0]
    except SetupError as e:
        raise RuntimeFailure(f"exec failed: unable to start container process: {e.message}") from None
    finally:
        os.close(task_pidfd)
