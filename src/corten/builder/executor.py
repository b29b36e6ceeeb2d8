"""What the builder asks of whoever runs its commands; the engine implements it over its runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from corten.builder.graph import Device
from corten.types.operations import BuildLimits

OnOutput: TypeAlias = Callable[[str, bytes], Awaitable[None]]
"""Takes a piece of output: ("stdout" or "stderr", bytes). Awaiting it lets a slow reader slow a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindDirectory:
    """A file or directory of the host, absolute, to be mounted at `target`."""

    source: str
    target: str
    readonly: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """An empty tmpfs at `target`; `size_bytes` 0 = the kernel's default."""

    target: str
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file at `target` that must exist in memory only."""

    target: str
    content: bytes
    mode: int
    uid: int
    gid: int


ServeAgent: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection to an ssh agent, to its end; whoever has accepted it closes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSocket:
    """A listening socket at `target`, each of whose connections is given to `serve`."""

    target: str
    serve: ServeAgent
    mode: int
    uid: int
    gid: int


ExecMount: TypeAlias = BindDirectory | Tmpfs | SecretFile | AgentSocket


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """A command to be run in a container of its own.

    `stdin`: it has one, else it reads nothing. `terminal`: it has one. `on_start` is called when it runs,
    with the other end of its stdin, to be closed, or None.

    `lower` (uppermost first), `upper` and `work` are overlayfs' directories, all absolute; `user` is as in
    an image config (names are looked up in the merged root). `network`: default, none, host, or what
    `docker run --network` takes. `cwd` exists or is to be made. `id`: 64 hex digits, nobody else's.
    `build`: whose command it is; commands of one build may follow each other in one network namespace.
    `privileged`: as `docker run --privileged`; `readonly_root`: as its --read-only. `hostname` "": the usual.
    """

    id: str
    build: str
    args: Sequence[str]
    env: Sequence[str]
    cwd: str
    user: str
    lower: Sequence[str]
    upper: str
    work: str
    network: str = "default"
    extra_hosts: Sequence[str] = ()
    mounts: Sequence[ExecMount] = ()
    limits: BuildLimits = field(default_factory=BuildLimits)
    hostname: str = ""
    readonly_root: bool = False
    privileged: bool = False
    devices: Sequence[Device] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    terminal: bool = False
    stdin: bool = False
    on_start: Callable[[int | None], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process of a container; as in `ExecSpec`."""

    args: Sequence[str]
    env: Sequence[str]
    cwd: str
    user: str
    privileged: bool = False
    terminal: bool = False
    stdin: bool = False


class BuildProcess(Protocol):
    """A process that runs."""

    async def write(self, data: bytes) -> None:
        """Give it input; waits while it does not read. Without effect when it reads no more."""

    async def end_input(self) -> None:
        """Let it read end-of-file, which on a terminal is no more than that nothing comes any more."""

    async def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal, unless it has ended."""

    async def wait(self) -> int:
        """The exit code (128+n for signal n), once all output is handed over."""


class BuildContainer(Protocol):
    """A container whose first process is its init: when that ends, all others end."""

    async def start(self, process: ProcessSpec, on_output: OnOutput) -> BuildProcess:
        """Start a process. Raises a CortenError in Docker's words, Conflict when the first has ended."""

    async def close(self) -> None:
        """End it; nothing is left when this returns."""


class Executor(Protocol):
    """Runs commands."""

    async def run(self, spec: ExecSpec, on_output: OnOutput) -> int:
        """Run to the end and return the exit code (128+n for signal n), all output handed over.

        When cancelled, the command is killed and gone before the cancellation goes on. Nothing is left
        behind but what is in `upper`. Raises a CortenError in Docker's words if it could not be started.
        """

    def container(self, spec: ExecSpec) -> BuildContainer:
        """A container for processes that come later; `spec` says all but what is the first's own."""

    def leave(self, build: str) -> None:
        """A build runs no more commands: what they have shared goes."""
