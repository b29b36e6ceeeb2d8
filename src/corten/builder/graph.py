"""The graph of a build: operations as values, each with its inputs, named by digest.

The shape is that of BuildKit's pb.Op (Source, Exec, File), so that LLB can be translated both ways::

    image ──► run ──► run ──► file(copy) ──► run          a vertex is an op and its input vertices
    local ──────────────────────┘                         inputs[0] is the root it works on

A vertex's digest covers the whole graph below it: equal work has equal digests, whoever asks for it.
What does not change a result (names shown to people, proxies, limits) is not part of an op.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from corten.digest import Digest, digest_of
from corten.errors import InvalidParameter


class ImageSource(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    """The layers of an image in the store, lowest first. No layers: `scratch`.

    `created_ns`: when each was made, () = not known here.
    """

    diff_ids: tuple[str, ...] = ()
    created_ns: tuple[int, ...] = ()


class LocalSource(msgspec.Struct, frozen=True, kw_only=True, tag="local"):
    """A directory outside the store, as the build's context. `key` differs from build to build."""

    key: str


class HttpSource(msgspec.Struct, frozen=True, kw_only=True, tag="http"):
    """One file fetched from a URL. `checksum`: the digest that it must have, "" = any."""

    url: str
    filename: str
    checksum: str = ""


class GitSource(msgspec.Struct, frozen=True, kw_only=True, tag="git"):
    """The files of a commit, of `subdir` only if given. `ref`: branch, tag, commit, "" = the remote's HEAD.

    `checksum`: the commit, or how its id begins, that `ref` must turn out to be, "" = any.
    """

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool = False
    submodules: bool = True


class InlineFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose content stands in the graph. Raises InvalidParameter for a name that leads elsewhere."""

    name: str
    content: str
    mode: int = 0o644

    def __post_init__(self) -> None:
        if "/" in self.name or self.name in (".", ".."):
            raise InvalidParameter(f"invalid name of heredoc: {self.name}")


class InlineSource(msgspec.Struct, frozen=True, kw_only=True, tag="inline"):
    """Files that stand in the Dockerfile itself (heredocs)."""

    files: tuple[InlineFile, ...]


class BindMount(msgspec.Struct, frozen=True, kw_only=True, tag="bind"):
    """`source` inside input number `input`. What is written to it (`readonly` False) is thrown away.

    `kept`: unless it is kept, with all that was there before, as a result of its own (see `Output`).
    """

    input: int
    source: str
    target: str
    readonly: bool = True
    kept: bool = False


VOLUME = "volume:"
"""How a `CacheMount`'s id begins that is the name of a volume."""


class CacheMount(msgspec.Struct, frozen=True, kw_only=True, tag="cache"):
    """A directory that outlives the build, or (`input` given) begins as a copy of that input's `source`."""

    id: str
    target: str
    sharing: str = "shared"
    readonly: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    input: int | None = None
    source: str = ""


class TmpfsMount(msgspec.Struct, frozen=True, kw_only=True, tag="tmpfs"):
    """An empty file system in memory; `size_bytes` 0 = the kernel's default."""

    target: str
    size_bytes: int = 0


class SecretMount(msgspec.Struct, frozen=True, kw_only=True, tag="secret"):
    """A secret as a file at `target` and/or as environment variable `env`; its content is no identity."""

    id: str
    target: str = ""
    env: str = ""
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


class SshMount(msgspec.Struct, frozen=True, kw_only=True, tag="ssh"):
    """The socket of an ssh agent of the client's at `target`; "" = /run/buildkit/ssh_agent.N.

    SSH_AUTH_SOCK names the first of a command's sockets.
    """

    id: str = "default"
    target: str = ""
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


Mount: TypeAlias = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device of the host by its CDI name (vendor/class=device); without `required` it may be missing."""

    name: str
    required: bool = False


class Exec(msgspec.Struct, frozen=True, kw_only=True, tag="exec"):
    """A command run in inputs[0]; its changes make a layer. `env`: NAME=value.

    `security`: "sandbox", or "insecure" = with all of the engine's own power. `exit_codes`: which are no
    failures, () = 0 alone. `extra_hosts`: `name:address`. Bind mounts that are `kept` give further results.
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    network: str = "default"
    mounts: tuple[Mount, ...] = ()
    security: str = "sandbox"
    devices: tuple[Device, ...] = ()
    hostname: str = ""
    extra_hosts: tuple[str, ...] = ()
    readonly_root: bool = False
    exit_codes: tuple[int, ...] = ()


class CopyAction(msgspec.Struct, frozen=True, kw_only=True, tag="copy"):
    """Copy `sources` (patterns, absolute within the input) of input number `input` to `destination`.

    `destination` is absolute; with a trailing slash it is a directory. `unpack`: archives are unpacked.
    `follow`: what a source's last symlink points to is copied. `contents`: of directories what is in them,
    not they themselves. `needs_slash`: several matches are refused unless it is to be a directory.
    `time_ns`: of all that is made, None = as the sources have it.
    """

    input: int
    sources: tuple[str, ...]
    destination: str
    owner: str = ""
    mode: str = ""
    unpack: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    contents: bool = True
    follow: bool = True
    may_find_nothing: bool = False
    needs_slash: bool = False
    time_ns: int | None = None


class MkdirAction(msgspec.Struct, frozen=True, kw_only=True, tag="mkdir"):
    """Make a directory and (with `parents`) those above it; those that exist stay as they are."""

    path: str
    mode: int = 0o755
    owner: str = ""
    parents: bool = True
    time_ns: int | None = None


class MkfileAction(msgspec.Struct, frozen=True, kw_only=True, tag="mkfile"):
    """Make a file; what is not a directory makes room for it."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = ""
    time_ns: int | None = None


class SymlinkAction(msgspec.Struct, frozen=True, kw_only=True, tag="symlink"):
    """Make a symlink at `path` that says `target`."""

    path: str
    target: str
    owner: str = ""
    time_ns: int | None = None


class RemoveAction(msgspec.Struct, frozen=True, kw_only=True, tag="remove"):
    """Remove a file, or a directory with all in it; with `wildcard`, whatever the pattern finds."""

    path: str
    missing_ok: bool = False
    wildcard: bool = False


Action: TypeAlias = CopyAction | MkdirAction | MkfileAction | SymlinkAction | RemoveAction


class File(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """Changes to inputs[0] that need no command; together they make one layer."""

    actions: tuple[Action, ...]


class Merge(msgspec.Struct, frozen=True, kw_only=True, tag="merge"):
    """The layers of all inputs, one upon the other: what stands later hides what stands earlier."""


class Diff(msgspec.Struct, frozen=True, kw_only=True, tag="diff"):
    """The layers that inputs[1] has upon those of inputs[0]."""


class Output(msgspec.Struct, frozen=True, kw_only=True, tag="output"):
    """What the command of inputs[0] has left in the `number`th of its kept mounts."""

    number: int


class Remains(msgspec.Struct, frozen=True, kw_only=True, tag="remains"):
    """The root of a command that has failed in the same build, as it has left it. `of`: its vertex."""

    of: Digest


Op: TypeAlias = (
    ImageSource
    | LocalSource
    | HttpSource
    | GitSource
    | InlineSource
    | Exec
    | File
    | Merge
    | Diff
    | Output
    | Remains
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vertex:
    """An operation and what it works on. Two vertices are the same work if their digests are equal.

    `name` is for people. `ignore_cache` forces the work to be done anew.
    """

    op: Op
    inputs: tuple[Vertex, ...] = ()
    name: str = ""
    ignore_cache: bool = False
    digest: Digest = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", op_digest(self.op, [vertex.digest for vertex in self.inputs]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vertex) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def kept_mounts(op: Op) -> int:
    """How many results a command gives besides its root."""
    if not isinstance(op, Exec) or not op.mounts:
        return 0
    return sum(isinstance(mount, BindMount) and mount.kept for mount in op.mounts)


def op_digest(op: Op, inputs: list[Digest] | list[str]) -> Digest:
    """The name of an operation on inputs named by digests.

    The encoding is JSON with a Struct's fields in declared order, so it is canonical.
    """
    return digest_of(msgspec.json.encode([op, list(inputs)]))


SCRATCH = Vertex(op=ImageSource(), name="scratch")
