"""The eighteen instructions as values, with everything their text says and nothing interpreted.

Variables are not substituted here: `convert` does that, in the environment the instruction stands in.
`text` is the instruction as one line (what "Step 1/7 : ..." shows), `line`..`end_line` its place.
"""

from __future__ import annotations

from dataclasses import dataclass

from corten.builder.dockerfile.lexer import Heredoc


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all have in common. `comments`: those right above it, without their `#`."""

    text: str
    line: int
    end_line: int
    comments: tuple[str, ...] = ()

    @property
    def keyword(self) -> str:
        """The keyword as it is written."""
        return self.text.split(None, 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """Begins a stage. `alias` is its name in lower case, "" if it has none."""

    image: str
    alias: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line: `args` as given if `exec_form`, else one text for the stage's shell."""

    args: tuple[str, ...]
    exec_form: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """Runs a command. `mounts` are the raw values of --mount (they may hold variables)."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """Default arguments or command of the image."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """The image's program."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """Copies files. `heredocs` are sources too, written to files of their names."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    source_from: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    """As COPY, and fetches URLs and unpacks archives. `keep_git_dir`, `unpack` None: not said."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """Declares build arguments: names with their default or None."""

    args: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """Sets environment variables, all expanded in the environment before the instruction."""

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """Sets labels."""

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """Declares ports: `80`, `80/udp`, `8000-8010/tcp`."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """Sets the user of later RUNs and of the container."""

    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """Sets the working directory and makes it."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """Declares anonymous volumes."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """Sets the signal that stops the container."""

    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """Sets the shell of the shell form."""

    shell: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """How to tell that the container is well. `test` as in the image config; times in ns, 0 = inherit."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """A trigger for builds that start from this image: `expression` as it goes into the image config."""

    expression: str
    trigger: Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """Sets the author (deprecated)."""

    author: str
