"""What the engine asks of whoever runs its containers, as a Protocol.

Implementations: `corten.runtimes.supervisor` (our own supervisor, the default).
A *task* is the running side of a container: its init process and what hangs on it.

Life of a task::

    start ─► running ─► Exit event (process gone AND its output all in the log)
      └─► StartFailed: nothing is left behind
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from corten.errors import CortenError

if TYPE_CHECKING:
    from corten.runtimes.connection import Connection


class StartFailed(CortenError):
    """The process could not be brought to execve(2) or execve failed.

    `stage` is "exec" when execve itself (or finding the program in PATH) failed,
    otherwise the description of the set-up step; `errno` is the kernel's answer.
    The engine maps ENOENT/"exec" to exit code 127 and EACCES, ENOEXEC, EISDIR, ... to 126.
    """

    def __init__(self, message: str, *, errno: int, stage: str) -> None:
        super().__init__(message)
        self.errno = errno
        self.stage = stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Root file system to be mounted as overlayfs inside the task's own mount namespace.

    Paths are absolute; `lower` lists the uppermost layer first. `volatile` skips syncing: for `--rm`, whose
    upperdir nobody reads after a crash, and for builds, whose layers are synced when they are all there.
    """

    lower: Sequence[str]
    upper: str
    work: str
    volatile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTarget:
    """Where the log writer puts the task's output.

    path: of a file in json-file's format, rotated; "" = none. attrs: what stands in every line of it.
    remote: a server, see `corten.supervisor.remote_log`; empty = none.
    """

    path: str = ""
    max_bytes: int = 20 << 20
    max_files: int = 5
    max_age_s: int = 0
    compress: bool = False
    attrs: dict[str, str] = field(default_factory=dict)
    remote: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalRuntime:
    """Another OCI runtime to run the task with: runc, crun, runsc, or what daemon.json names."""

    name: str
    path: str
    arguments: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A mount of a checkpointed task that comes from outside. kind: mount, cgroup, null (the host's)."""

    destination: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Processes to be brought back instead of a new one. `corten.engine.containers.checkpoints` writes it.

    program: criu. images: the directory of its files. stdio: what it calls descriptors 0, 1 and 2. flags:
    of criu, the same as at the dump.
    """

    program: str
    images: str
    stdio: Sequence[str]
    externals: Sequence[External]
    flags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """All that is needed to start a task.

    `spec`: OCI runtime-spec 1.2 document (config.json) as JSON bytes; linux.seccomp may be left out
    and `seccomp` (compiled cBPF program) given instead. `overlay` overrides spec.root.path.
    `netns_fd`: network namespace to join (stays the caller's to close).
    `output_fds`: pipes for stdout and stderr (also the caller's), instead of `log` and `attach_output`: for
    a task of our own runtime, without a terminal, that nobody wants to hear of but who starts it.
    `peers`: pids of the tasks (by id) whose namespaces are joined: a pid may be another's by now.
    `restore`: needs our own runtime, and no terminal.
    `runtime`: None for our own; another one reads its seccomp profile from `spec` and nowhere else.
    """

    id: str
    spec: bytes
    overlay: Overlay | None
    log: LogTarget
    terminal: bool = False
    console_size: tuple[int, int] | None = None  # rows, columns
    open_stdin: bool = False
    stdin_once: bool = False
    seccomp: bytes | None = None
    netns_fd: int | None = None
    output_fds: tuple[int, int] | None = None
    peers: Mapping[str, int] = field(default_factory=dict)
    init: bool = False  # put our small init before the program
    runtime: ExternalRuntime | None = None
    restore: Restore | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """A further process in a running task. `process` is OCI `process` JSON.

    `about`: a JSON object that `exec_info` gives back, to the next engine too.
    """

    task_id: str
    exec_id: str
    process: bytes
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    seccomp: bytes | None = None
    about: bytes = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecStarted:
    """Pid in the host's pid namespace and the engine's ends of the stdio (owned by the caller).

    With a terminal all three name the pty master (stderr is None).
    """

    pid: int
    stdin_fd: int | None
    stdout_fd: int | None
    stderr_fd: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecInfo:
    """What a runtime knows of an exec. code: None while it runs."""

    task_id: str
    pid: int
    code: int | None
    about: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A task (exec_id None) or exec process has ended. `code` is 0..255, 128+n for signal n."""

    task_id: str
    exec_id: str | None
    code: int
    oom_killed: bool
    at_ns: int  # CLOCK_REALTIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What a runtime says of a task it knows: running, or ended while nobody listened."""

    task_id: str
    pid: int
    exit: Exit | None
    cgroup: str = ""
    paused: bool = False


class Runtime(Protocol):
    """The engine's view of the supervisor."""

    def on_exit(self, callback: Callable[[Exit], None]) -> None:
        """Register the one receiver of exits (called on the event loop).

        One may be told twice, if the supervisor died over its start.
        """

    def on_oom(self, callback: Callable[[str], None]) -> None:
        """Register the one receiver of out-of-memory notices (task id)."""

    def on_settled(self, callback: Callable[[str, int], None]) -> None:
        """Register who hears how starts went whose engine has died over them: task id and pid, 0 = failed."""

    async def make_owned_sandbox(
        self,
        uids: Sequence[Mapping[str, int]],
        gids: Sequence[Mapping[str, int]],
        userns_fd: int | None = None,
    ) -> list[int]:
        """Descriptors of a `corten.network.sandboxes.Sandbox`, with lo only, then the caller's.

        It belongs to the user namespace given, or to a new one with these maps (OCI's words). Raises
        InternalError.
        """

    def has_companion(self, role: str) -> bool:
        """Whether there is, or was, such a process: "netd" (the resolver), "relay" (of published ports)."""

    async def companion(
        self, role: str, on_lost: Callable[[], None], on_event: Callable[[dict[str, Any]], None]
    ) -> Connection:
        """A connection to such a process, started if there is none; the caller closes it.

        Raises InternalError.
        """

    async def tasks(self) -> list[Adopted]:
        """All tasks the runtime knows, for restore after an engine restart."""

    async def start(self, request: TaskRequest) -> int:
        """Start a task; returns its pid once execve has succeeded. Raises StartFailed."""

    async def exec(self, request: ExecRequest) -> ExecStarted:
        """Start a further process in a task. Raises StartFailed, NotFound."""

    async def exec_info(self, exec_id: str) -> ExecInfo:
        """Of one that runs or has ended lately. Raises NotFound."""

    async def kill(self, task_id: str, signal: int, *, exec_id: str | None = None) -> None:
        """Send a signal to a task's init or an exec's process. Raises NotFound if it is gone."""

    async def kill_all(self, task_id: str) -> None:
        """SIGKILL every process of the task's cgroup."""

    async def resize(self, task_id: str, rows: int, columns: int, *, exec_id: str | None = None) -> None:
        """Set the size of the task's or exec's terminal."""

    async def pause(self, task_id: str) -> None:
        """Freeze the task's cgroup."""

    async def resume(self, task_id: str) -> None:
        """Thaw the task's cgroup."""

    async def attach_output(self, task_id: str, *, stdout: bool, stderr: bool) -> int:
        """A readable stream-socket fd with the task's output from now on, until it ends (EOF).

        Non-terminal tasks: stdcopy frames (8-byte header); terminal tasks: raw bytes. May be called
        before start(); the caller owns the fd. Closing it detaches.
        """

    async def attach_stdin(self, task_id: str) -> int | None:
        """A writable fd of the task's stdin (pipe or pty master); None if it has none. Caller owns it."""

    async def close_stdin(self, task_id: str) -> None:
        """Let the task read end-of-file on stdin (StdinOnce)."""

    async def forget(self, task_id: str) -> None:
        """The exit has been recorded by the engine; drop what is kept about the task."""

    async def close(self) -> None:
        """Disconnect; tasks go on."""
