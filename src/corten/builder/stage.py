"""A stage while it is being converted, and the instructions that change only its configuration.

Each such instruction is a function from the state and the instruction to the text of its history entry
("": it has none); none of them makes a vertex.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from corten.builder.args import SCAN_CONTEXT, SCAN_STAGE, BuildArgs
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import (
    Arg,
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    StopSignal,
    User,
    Volume,
)
from corten.builder.dockerfile.shell import expand, expand_words
from corten.builder.goquote import go_quotes
from corten.builder.graph import Vertex
from corten.builder.image import ImageState, set_env
from corten.builder.ports import exposed_ports
from corten.builder.stop_signal import check_signal
from corten.oci.image import Healthcheck as ConfigHealthcheck
from corten.units import format_duration

DEFAULT_SHELL = ("/bin/sh", "-c")


@dataclass(slots=True, kw_only=True)
class StageState:
    """Where a stage stands: its root, its image, and the variables it can see.

    `variables`: those of ENV and of ARG, of one name what came last. `args`: the names that ARG has declared,
    in order. `scans`: arguments that are about its SBOM and no variables. `classic`: see ConvertOptions.
    """

    root: Vertex
    image: ImageState
    build_args: BuildArgs
    escape: str = "\\"
    variables: dict[str, str]
    args: list[str] = field(default_factory=list)
    scans: dict[str, str] = field(default_factory=dict)
    cmd_set: bool = False
    classic: bool = False

    def expand(self, word: str) -> str:
        """Substitute variables in one word."""
        return expand(word, self.variables, self.escape)

    def expand_words(self, words: Sequence[str]) -> list[str]:
        """Substitute variables in words, each of which may become several."""
        return [piece for word in words for piece in expand_words(word, self.variables, self.escape)]

    @property
    def workdir(self) -> str:
        """The working directory, absolute."""
        return self.image.config.working_dir or "/"

    def absolute(self, path: str) -> str:
        """`path` seen from the working directory, cleaned; a trailing slash stays."""
        joined = posixpath.normpath(posixpath.join("/", self.workdir, path))
        joined = "/" + joined.lstrip("/")
        return joined + "/" if path.endswith(("/", "/.")) and joined != "/" else joined

    def command(self, command: Command) -> list[str]:
        """The arguments of a command in either form."""
        if command.exec_form:
            return list(command.args)
        return [*(self.image.config.shell or DEFAULT_SHELL), " ".join(command.args)]


def _arg(state: StageState, instruction: Arg) -> str:
    shown = []
    for name, value in state.build_args.declare(instruction, state.variables):
        if name in (SCAN_STAGE, SCAN_CONTEXT):
            state.scans[name] = value or ""
        elif value is not None:
            state.variables = {**state.variables, name: value}
        if name not in state.args:
            state.args.append(name)
        shown.append(name if value is None else f"{name}={value}")
    return f"ARG {' '.join(shown)}"


def _env(state: StageState, instruction: Env) -> str:
    pairs = _expanded(state, instruction.pairs)
    state.image = state.image.with_config(env=set_env(state.image.config, pairs))
    state.variables = {**state.variables, **dict(pairs)}
    return "ENV " + " ".join(f"{name}={value}" for name, value in pairs)


def _label(state: StageState, instruction: Label) -> str:
    pairs = _expanded(state, instruction.pairs)
    state.image = state.image.with_labels(dict(pairs))
    return "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)


def _expanded(state: StageState, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    expanded = [(state.expand(name), state.expand(value)) for name, value in pairs]
    if not all(name for name, _ in expanded):
        raise DockerfileError("names can not be blank", located=False)
    return expanded


def _cmd(state: StageState, instruction: Cmd) -> str:
    args = state.command(instruction.command)
    state.image = state.image.with_config(cmd=args or None, args_escaped=not state.classic)
    state.cmd_set = True
    return f"CMD {go_quotes(args)}"


def _entrypoint(state: StageState, instruction: Entrypoint) -> str:
    args = state.command(instruction.command)
    state.image = state.image.with_config(entrypoint=args or None)
    if not state.cmd_set:
        # A CMD of the base image was meant for the base image's ENTRYPOINT.
        state.image = state.image.with_config(cmd=None)
    return f"ENTRYPOINT {go_quotes(args)}"


def _expose(state: StageState, instruction: Expose) -> str:
    ports = [port for word in state.expand_words(instruction.ports) for port in exposed_ports(word)]
    exposed = {**(state.image.config.exposed_ports or {}), **{port: {} for port in ports}}
    state.image = state.image.with_config(exposed_ports=exposed)
    return f"EXPOSE [{' '.join(ports)}]"


def _user(state: StageState, instruction: User) -> str:
    user = state.expand(instruction.user)
    state.image = state.image.with_config(user=user)
    return f"USER {user}"


def _volume(state: StageState, instruction: Volume) -> str:
    paths = [state.expand(path) for path in instruction.paths]
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string", located=False)
    volumes = {**(state.image.config.volumes or {}), **{path: {} for path in paths}}
    state.image = state.image.with_config(volumes=volumes)
    return f"VOLUME [{' '.join(paths)}]"


def _stop_signal(state: StageState, instruction: StopSignal) -> str:
    name = state.expand(instruction.signal)
    check_signal(name)
    state.image = state.image.with_config(stop_signal=name)
    return f"STOPSIGNAL {name}"


def _shell(state: StageState, instruction: Shell) -> str:
    state.image = state.image.with_config(shell=list(instruction.shell))
    return f"SHELL [{' '.join(instruction.shell)}]"


def _healthcheck(state: StageState, instruction: Healthcheck) -> str:
    check = ConfigHealthcheck(
        test=list(instruction.test),
        interval=instruction.interval_ns,
        timeout=instruction.timeout_ns,
        start_period=instruction.start_period_ns,
        start_interval=instruction.start_interval_ns,
        retries=instruction.retries,
    )
    state.image = state.image.with_config(healthcheck=check)
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    shown = " ".join(f"{name}:{format_duration(time)}" for name, time in times.items())
    return f"HEALTHCHECK {{Test:[{' '.join(instruction.test)}] {shown} Retries:{check.retries}}}"


def _onbuild(state: StageState, instruction: Onbuild) -> str:
    triggers = [*(state.image.config.on_build or ()), instruction.expression]
    state.image = state.image.with_config(on_build=triggers)
    return ""


def _maintainer(state: StageState, instruction: Maintainer) -> str:
    state.image = msgspec.structs.replace(state.image, author=instruction.author)
    return f"MAINTAINER {instruction.author}"


Kind = TypeVar("Kind", bound=Instruction)


def _row(kind: type[Kind], change: Callable[[StageState, Kind], str]) -> tuple[type[Instruction], _Change]:
    def checked(state: StageState, instruction: Instruction) -> str:
        assert isinstance(instruction, kind)
        return change(state, instruction)

    return kind, checked


_Change = Callable[[StageState, Instruction], str]
_CHANGES: Mapping[type[Instruction], _Change] = dict(
    (
        _row(Arg, _arg),
        _row(Env, _env),
        _row(Label, _label),
        _row(Cmd, _cmd),
        _row(Entrypoint, _entrypoint),
        _row(Expose, _expose),
        _row(User, _user),
        _row(Volume, _volume),
        _row(StopSignal, _stop_signal),
        _row(Shell, _shell),
        _row(Healthcheck, _healthcheck),
        _row(Onbuild, _onbuild),
        _row(Maintainer, _maintainer),
    )
)


def changes_only_config(instruction: Instruction) -> bool:
    """Whether the instruction makes no layer."""
    return type(instruction) in _CHANGES


def configure(state: StageState, instruction: Instruction) -> None:
    """Apply an instruction that changes only the configuration. Raises DockerfileError, InvalidParameter."""
    created_by = _CHANGES[type(instruction)](state, instruction)
    if created_by:
        state.image = state.image.committed(created_by)
