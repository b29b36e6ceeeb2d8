"""What the operations of the engine take and give that is not itself a JSON document.

The API makes these of query parameters and gives them to the engine's services; `Attachment`
and `LogStream` go the other way. The Protocols that use them are in `corten.api.routes`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from corten.filters import Filters
from corten.types.container import ContainerConfig, PathStat, Ulimit
from corten.types.system import AuthConfig


class WaitCondition(StrEnum):
    """What `wait` waits for."""

    NOT_RUNNING = "not-running"
    NEXT_EXIT = "next-exit"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerListOptions:
    """`all`: not only running ones. `limit` > 0: the newest so many, running or not. `size`: fill SizeRw."""

    all: bool = False
    limit: int = 0
    size: bool = False
    filters: Filters = field(default_factory=Filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachOptions:
    """`stream`: follow from now on; `logs`: what was written before comes first."""

    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions:
    """`since`, `until`: nanoseconds since 1970, 0 = no bound. `tail`: last lines, None = all."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStream:
    """Output of a container. Chunks: raw bytes if `tty`, otherwise whole stdcopy frames (`wire.stdcopy`).

    Closing the iterator (`aclose`) ends the reading; the API does it when the client goes away.
    """

    tty: bool
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A path of a container as a tar. Close `chunks` (`aclose`) when they are not read to their end."""

    stat: PathStat
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A readable fd of a process's output: pipe, socket or pty master.

    stream: 1 (stdout) or 2 (stderr) = the API frames what it reads; None = it is passed on as it comes
    (a terminal's bytes, or frames already made by the log writer).
    """

    fd: int
    stream: int | None = None


@dataclass(slots=True, kw_only=True)
class Attachment:
    """The stdio of a container or exec, handed to the API, which owns and closes all its fds.

    stdin_fd may be the same number as an output's fd (pty master).
    The attachment ends when every output has ended, when the client has gone, when the detach keys are
    typed (terminals only), or when the client's stdin ends while `end_with_stdin`.
    """

    tty: bool
    outputs: Sequence[Output] = ()
    stdin_fd: int | None = None
    history: AsyncIterator[bytes] | None = None
    """Output from before the attaching, framed like the rest, sent first; never what outputs bring too."""
    detach_keys: bytes = b""
    """Bytes that detach; b"" = none."""
    end_with_stdin: bool = False
    """End of the client's stdin ends the whole attachment (not StdinOnce, or a terminal)."""
    on_stdin_end: Callable[[], Awaitable[None]] | None = None
    """Called after stdin_fd was closed because the client's stdin ended: let the process see EOF."""
    settled: Callable[[], Awaitable[object]] | None = None
    """Awaited, for a limited time, when all outputs have ended and before the client is told: lets the exit
    be known first, for clients ask for its code at once."""
    on_detach: Callable[[], None] | None = None
    """Called when the detach keys were typed, for the event."""
    on_close: Callable[[], None] | None = None
    """Called once when the attachment is over, however it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOptions:
    """`reference`: repo[:tag] or "". `changes`: Dockerfile instructions. config None: the container's."""

    reference: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: Sequence[str] = ()
    config: ContainerConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageListOptions:
    """`all`: intermediate images too. `shared_size`: fill SharedSize."""

    all: bool = False
    digests: bool = False
    shared_size: bool = False
    manifests: bool = False
    filters: Filters = field(default_factory=Filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """`reference`: repo[:tag] or "". `changes`: Dockerfile instructions applied to the configuration.

    `url`: where the engine fetches the archive; "": it comes with the request.
    """

    reference: str = ""
    url: str = ""
    message: str = ""
    changes: Sequence[str] = ()
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsOptions:
    """Events of [since, until] in nanoseconds since 1970; None = from now, without end."""

    since_ns: int | None = None
    until_ns: int | None = None
    filters: Filters = field(default_factory=Filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """What `_ping` tells in headers. builder_version "2": BuildKit's /grpc is served."""

    builder_version: str = "2"
    experimental: bool = False
    swarm: str = "inactive"


DISK_USAGE_KINDS = frozenset({"container", "image", "volume", "build-cache"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLimits:
    """Resources of every command of a build; 0 and "" = none."""

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    shm_size_bytes: int = 0
    ulimits: Sequence[Ulimit] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpace:
    """How much of the build cache may stay, in bytes; if nothing is said (0), none need.

    `reserved` stays in any case. What is more goes if it is more than `max_used`, or as far as less than
    `min_free` would be free on the disk.
    """

    reserved: int = 0
    max_used: int = 0
    min_free: int = 0

    def kept(self, used: int, free: int) -> int | None:
        """How many of the `used` bytes may stay while `free` are free on the disk; None = none need."""
        if not (self.reserved or self.max_used or self.min_free):
            return None
        kept = self.max_used or (used if self.min_free else 0)
        if (missing := self.min_free - free) > 0:
            kept = min(kept, used - missing)
        return max(kept, self.reserved, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOutput:
    """Where a build's result goes, as `buildx --output` has it."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Query of POST /build. Sizes in bytes, CPU times in microseconds; 0 and "" = not given.

    `remote`: URL of the context instead of a body. `build_args` values None = take ours from nowhere,
    i.e. declared without value. `auth`: credentials by registry host. `entitlements`: as `buildx --allow`.
    `call`: answer a question about the Dockerfile instead of building (check, outline, targets).
    `contexts`: named contexts, each a URL, `docker-image://NAME`, or `local:PATH` of a directory in the body
    that does not belong to the main context. `secrets`: content by id. `agents`: path of an ssh agent's
    socket, on the engine's machine, by id. `trace`: tell of steps as BuildKit does, not as the classic
    builder does. `outputs`: where the result goes, () = into the store. `attestations`: what is said of
    each kind (provenance, sbom). `platforms`: what for, () = this machine; several only with `trace`.
    """

    tags: Sequence[str] = ()
    dockerfile: str = "Dockerfile"
    remote: str = ""
    quiet: bool = False
    no_cache: bool = False
    rm: bool = True
    force_rm: bool = False
    pull: bool = False
    target: str = ""
    platforms: Sequence[str] = ()
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_from: Sequence[str] = ()
    cache_to: Sequence[str] = ()
    no_cache_stages: Sequence[str] = ()
    network_mode: str = ""
    extra_hosts: Sequence[str] = ()
    limits: BuildLimits = field(default_factory=BuildLimits)
    squash: bool = False
    entitlements: Sequence[str] = ()
    call: str = ""
    trace: bool = False
    contexts: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    auth: Mapping[str, AuthConfig] = field(default_factory=dict)
    outputs: Sequence[BuildOutput] = ()
    attestations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildKitOptions:
    """What else the query of POST /build says with `version=2`. `session`: the client's, "" = it has none.

    `build_id`: a name, by which another request cancels the build or brings its context.
    """

    session: str = ""
    build_id: str = ""
