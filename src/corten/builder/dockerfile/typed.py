"""Nodes → instructions: flags and arguments are checked here, with Docker's texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from corten.builder.dockerfile.errors import DockerfileError, suggest
from corten.builder.dockerfile.flags import Flags, Kind, parse_flags
from corten.builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.builder.dockerfile.parser import Node
from corten.builder.dockerfile.stage_names import checked_stage_name
from corten.units import parse_duration

_MIN_DURATION_NS = 1_000_000
_INTEGER = re.compile(r"[+-]?[0-9]+")
_MAX_RETRIES = (1 << 31) - 1


class _Place(TypedDict):
    text: str
    line: int
    end_line: int
    comments: tuple[str, ...]


def _at(node: Node) -> _Place:
    """The arguments that every instruction takes."""
    return {"text": node.original, "line": node.start, "end_line": node.end, "comments": node.comments}


@dataclass(frozen=True, slots=True)
class _Form:
    make: Callable[[Node, Flags], Instruction]
    flags: dict[str, Kind]


def instruction(node: Node) -> Instruction:
    """The typed instruction of a node. Raises DockerfileError with the node's line."""
    try:
        form = _FORMS.get(node.keyword)
        if form is None:
            word = node.original.split(None, 1)[0]
            raise DockerfileError(suggest(f"unknown instruction: {word}", word, sorted(_FORMS)))
        return form.make(node, parse_flags(node.flags, form.flags))
    except DockerfileError as error:
        raise DockerfileError(error.message, line=node.start, end_line=node.end) from None


def _exactly_one(node: Node) -> str:
    if len(node.args) != 1:
        raise DockerfileError(f"{node.keyword.upper()} requires exactly one argument")
    return node.args[0]


def _at_least_one(node: Node) -> tuple[str, ...]:
    if not node.args:
        raise DockerfileError(f"{node.keyword.upper()} requires at least one argument")
    return node.args


def _from(node: Node, flags: Flags) -> Instruction:
    args = node.args
    if len(args) not in (1, 3) or (len(args) == 3 and args[1].lower() != "as"):
        raise DockerfileError("FROM requires either one or three arguments")
    alias = checked_stage_name(args[2]) if len(args) == 3 else ""
    return From(image=args[0], alias=alias, platform=flags.string("platform"), **_at(node))


def _command(node: Node) -> Command:
    return Command(args=node.args, exec_form=node.json)


def _run(node: Node, flags: Flags) -> Instruction:
    if not node.args and node.json:
        raise DockerfileError("RUN requires at least one argument")
    network = flags.string("network").lower() or "default"
    if network not in ("default", "none", "host"):
        raise DockerfileError(
            suggest(f'invalid network mode "{network}"', network, ("default", "none", "host"))
        )
    security = flags.string("security").lower() or "sandbox"
    if security not in ("sandbox", "insecure"):
        raise DockerfileError(
            suggest(f'security "{security}" is not valid', security, ("sandbox", "insecure"))
        )
    return Run(
        command=_command(node),
        heredocs=node.heredocs,
        mounts=flags.strings("mount"),
        network=network,
        security=security,
        devices=flags.strings("device"),
        **_at(node),
    )


def _cmd(node: Node, flags: Flags) -> Instruction:
    return Cmd(command=_command(node), **_at(node))


def _entrypoint(node: Node, flags: Flags) -> Instruction:
    return Entrypoint(command=_command(node), **_at(node))


def _sources(node: Node) -> tuple[tuple[str, ...], str]:
    """The sources that are paths, and the destination. Words that open a heredoc are no paths."""
    keyword = node.keyword.upper()
    if len(node.args) < 2:
        raise DockerfileError(
            f"{keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    *sources, destination = node.args
    if not node.heredocs:
        return tuple(sources), destination
    if _opens_heredoc(destination):
        raise DockerfileError(f"{keyword} cannot accept a heredoc as a destination")
    return tuple(word for word in sources if not _opens_heredoc(word)), destination


def _opens_heredoc(word: str) -> bool:
    return word.lstrip("0123456789").startswith("<<")


def _copy(node: Node, flags: Flags) -> Instruction:
    sources, destination = _sources(node)
    return Copy(
        sources=sources,
        destination=destination,
        heredocs=node.heredocs,
        source_from=flags.string("from"),
        chown=flags.string("chown"),
        chmod=flags.string("chmod"),
        link=flags.is_on("link"),
        parents=flags.is_on("parents"),
        exclude=flags.strings("exclude"),
        **_at(node),
    )


def _add(node: Node, flags: Flags) -> Instruction:
    sources, destination = _sources(node)
    return Add(
        sources=sources,
        destination=destination,
        heredocs=node.heredocs,
        chown=flags.string("chown"),
        chmod=flags.string("chmod"),
        link=flags.is_on("link"),
        exclude=flags.strings("exclude"),
        checksum=flags.string("checksum"),
        keep_git_dir=flags.maybe("keep-git-dir"),
        unpack=flags.maybe("unpack"),
        **_at(node),
    )


def _arg(node: Node, flags: Flags) -> Instruction:
    args: list[tuple[str, str | None]] = []
    for word in _at_least_one(node):
        name, equals, value = word.partition("=")
        if not name:
            raise DockerfileError("ARG names can not be blank")
        args.append((name, value if equals else None))
    return Arg(args=tuple(args), **_at(node))


def _pairs(node: Node) -> tuple[tuple[str, str], ...]:
    args = _at_least_one(node)
    if not all(args[::2]):
        raise DockerfileError(f"{node.keyword.upper()} names can not be blank")
    return tuple(zip(args[::2], args[1::2], strict=True))


def _env(node: Node, flags: Flags) -> Instruction:
    return Env(pairs=_pairs(node), legacy=node.legacy, **_at(node))


def _label(node: Node, flags: Flags) -> Instruction:
    return Label(pairs=_pairs(node), legacy=node.legacy, **_at(node))


def _expose(node: Node, flags: Flags) -> Instruction:
    return Expose(ports=tuple(sorted(_at_least_one(node))), **_at(node))


def _user(node: Node, flags: Flags) -> Instruction:
    return User(user=_exactly_one(node), **_at(node))


def _workdir(node: Node, flags: Flags) -> Instruction:
    return Workdir(path=_exactly_one(node), **_at(node))


def _volume(node: Node, flags: Flags) -> Instruction:
    paths = tuple(path.strip() for path in _at_least_one(node))
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(paths=paths, **_at(node))


def _stop_signal(node: Node, flags: Flags) -> Instruction:
    return StopSignal(signal=_exactly_one(node), **_at(node))


def _shell(node: Node, flags: Flags) -> Instruction:
    if not node.json:
        if not node.args:
            raise DockerfileError("SHELL requires at least one argument")
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return Shell(shell=_at_least_one(node), **_at(node))


def _healthcheck(node: Node, flags: Flags) -> Instruction:
    kind, *rest = _at_least_one(node)
    if kind.upper() == "NONE":
        if rest:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(test=("NONE",), **_at(node))
    if kind.upper() != "CMD":
        raise DockerfileError(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    if not rest:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        test=("CMD" if node.json else "CMD-SHELL", *rest),
        interval_ns=_health_time(flags, "interval"),
        timeout_ns=_health_time(flags, "timeout"),
        start_period_ns=_health_time(flags, "start-period"),
        start_interval_ns=_health_time(flags, "start-interval"),
        retries=_retries(flags.string("retries")),
        **_at(node),
    )


def _health_time(flags: Flags, name: str) -> int:
    text = flags.string(name)
    if not text:
        return 0
    try:
        nanoseconds = parse_duration(text)
    except ValueError as error:
        raise DockerfileError(str(error)) from None
    if nanoseconds and nanoseconds < _MIN_DURATION_NS:
        raise DockerfileError(f'Interval "{name}" cannot be less than 1ms')
    return nanoseconds


def _retries(text: str) -> int:
    if not text:
        return 0
    if _INTEGER.fullmatch(text) is None:
        raise DockerfileError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    retries = int(text[:12])
    if abs(retries) > _MAX_RETRIES:
        raise DockerfileError(f'strconv.ParseInt: parsing "{text}": value out of range')
    if retries < 0:
        raise DockerfileError(f"--retries cannot be negative ({retries})")
    return retries


def _onbuild(node: Node, flags: Flags) -> Instruction:
    child = node.child
    if child is None:
        raise DockerfileError("ONBUILD requires at least one argument")
    if child.keyword in ("from", "maintainer"):
        raise DockerfileError(f"{child.keyword.upper()} isn't allowed as an ONBUILD trigger")
    bodies = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in node.heredocs)
    return Onbuild(expression=child.original + bodies, trigger=instruction(child), **_at(node))


def _maintainer(node: Node, flags: Flags) -> Instruction:
    return Maintainer(author=_exactly_one(node), **_at(node))


_COPYING = {
    "chown": Kind.STRING,
    "chmod": Kind.STRING,
    "link": Kind.BOOL,
    "exclude": Kind.LIST,
}
_FORMS: dict[str, _Form] = {
    "from": _Form(_from, {"platform": Kind.STRING}),
    "run": _Form(
        _run,
        {"mount": Kind.LIST, "network": Kind.STRING, "security": Kind.STRING, "device": Kind.LIST},
    ),
    "cmd": _Form(_cmd, {}),
    "entrypoint": _Form(_entrypoint, {}),
    "copy": _Form(_copy, {**_COPYING, "from": Kind.STRING, "parents": Kind.BOOL}),
    "add": _Form(_add, {**_COPYING, "checksum": Kind.STRING, "keep-git-dir": Kind.BOOL, "unpack": Kind.BOOL}),
    "arg": _Form(_arg, {}),
    "env": _Form(_env, {}),
    "label": _Form(_label, {}),
    "expose": _Form(_expose, {}),
    "user": _Form(_user, {}),
    "workdir": _Form(_workdir, {}),
    "volume": _Form(_volume, {}),
    "stopsignal": _Form(_stop_signal, {}),
    "shell": _Form(_shell, {}),
    "healthcheck": _Form(
        _healthcheck,
        dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), Kind.STRING),
    ),
    "onbuild": _Form(_onbuild, {}),
    "maintainer": _Form(_maintainer, {}),
}
