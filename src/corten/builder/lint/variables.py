"""The checks of names: variables that nobody has defined, arguments in FROM, ports and directories."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from corten.builder.args import BuildArgs
from corten.builder.dockerfile.errors import DockerfileError, nearest
from corten.builder.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    From,
    Instruction,
    Label,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.builder.dockerfile.shell import Usage, expand, expand_raw, expand_words
from corten.builder.lint.report import Report
from corten.builder.lint.text import secret_key
from corten.errors import CortenError
from corten.platforms import Platform, parse_platform
from corten.reference import parse_normalized


@dataclass(slots=True)
class Scope:
    """What names mean in a stage. `complete` False: nobody knows the base image's environment."""

    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    complete: bool = True
    workdir_set: bool = False

    def copy(self) -> Scope:
        """For a stage that begins where this one has ended."""
        return Scope({**self.env}, {**self.args}, {*self.declared}, self.complete, self.workdir_set)


class Names:
    """Checks the instructions of stages, one after the other, and keeps their scopes up to date."""

    def __init__(self, args: BuildArgs, escape: str, report: Report) -> None:
        self._args = args
        self._escape = escape
        self._report = report

    def check_from(self, base: From, defaults: Mapping[str, str], declared: Iterable[str]) -> str:
        """A FROM; the image's name. `defaults`: global arguments without what the caller gave.

        `declared`: the names of all of them.
        """
        known = {*declared, *self._args.globals}
        for word in (base.image, base.platform):
            usage = Usage()
            result = self._expanded(word, self._args.globals, usage)
            for name in sorted(usage.unmatched - known):
                detail = f"FROM argument '{name}' is not declared{_hint(name, sorted(known))}"
                self._report.add("UndefinedArgInFrom", detail, base)
            if word and word == base.platform:
                self._check_platform(base, result, usage)
        try:
            parse_normalized(self._expanded(base.image, defaults, Usage()))
        except CortenError:
            detail = f"Default value for ARG {base.image} results in empty or invalid base image name"
            self._report.add("InvalidDefaultArgInFrom", detail, base)
        return self._expanded(base.image, self._args.globals, Usage())

    def check_base(self, base: From, image: str, found: Platform, target: Platform) -> None:
        """The image that a FROM begins with is for `found`. `target`: what is built for."""
        expected = target
        if base.platform:
            try:
                expected = parse_platform(self._expanded(base.platform, self._args.globals, Usage()))
            except CortenError:
                return  # the build will say so
        if (found.os, found.architecture) != (expected.os, expected.architecture):
            detail = (
                f'Base image {image} was pulled with platform "{found}", expected "{expected}" '
                "for current build"
            )
            self._report.add("InvalidBaseImagePlatform", detail, base)

    def _check_platform(self, base: From, result: str, usage: Usage) -> None:
        if usage.matched == {"TARGETPLATFORM"} and not usage.unmatched:
            if result == self._args.globals.get("TARGETPLATFORM"):
                detail = (
                    f"Setting platform to predefined {base.platform} in FROM is redundant "
                    "as this is the default behavior"
                )
                self._report.add("RedundantTargetPlatform", detail, base)
        elif not usage.matched and not usage.unmatched:
            try:
                platform = parse_platform(result)
            except CortenError:
                return
            if platform.os not in base.alias and platform.architecture not in base.alias:
                detail = f'FROM --platform flag should not use constant value "{result}"'
                self._report.add("FromPlatformFlagConstDisallowed", detail, base)

    def _expanded(self, word: str, env: Mapping[str, str], usage: Usage) -> str:
        try:
            return expand(word, env, self._escape, usage)
        except DockerfileError:
            return ""  # the build will say so

    def check(self, instruction: Instruction, scope: Scope) -> None:
        """An instruction of a stage; afterwards the scope is that behind it."""
        env = {**scope.args, **scope.env}
        usage = Usage()
        for word in _words(instruction):
            self._expanded(word, env, usage)
        for body in _bodies(instruction):
            with suppress(DockerfileError):
                expand_raw(body, env, usage)
        if isinstance(instruction, Arg):
            self._declare(instruction, scope, env, usage)
        self._report_unknown(instruction, scope, env, usage)
        if isinstance(instruction, Env):
            for name, value in instruction.pairs:
                name = self._expanded(name, env, Usage())
                secret_key("ENV", name, instruction, self._report)
                scope.env[name] = self._expanded(value, env, Usage())
        elif isinstance(instruction, Workdir):
            path = self._expanded(instruction.path, env, Usage())
            if not scope.workdir_set and not posixpath.isabs(path):
                detail = f'Relative workdir "{path}" can have unexpected results if the base image changes'
                self._report.add("WorkdirRelativePath", detail, instruction)
            scope.workdir_set = True
        elif isinstance(instruction, Expose):
            self._check_ports(instruction, env)

    def _declare(self, instruction: Arg, scope: Scope, env: Mapping[str, str], usage: Usage) -> None:
        for name, default in instruction.args:
            secret_key("ARG", name, instruction, self._report)
            if default is not None and self._args.given(name) is None:
                self._expanded(default, env, usage)
        scope.declared.update(name for name, _ in instruction.args)
        with suppress(DockerfileError):
            declared = self._args.declare(instruction, env)
            scope.args.update({name: value for name, value in declared if value is not None})

    def _report_unknown(
        self, instruction: Instruction, scope: Scope, env: Mapping[str, str], usage: Usage
    ) -> None:
        if not scope.complete:
            return
        for name in sorted(usage.unmatched - scope.declared):
            hint = _hint(name, sorted(env), "$")
            self._report.add("UndefinedVar", f"Usage of undefined variable '${name}'{hint}", instruction)

    def _check_ports(self, instruction: Expose, env: Mapping[str, str]) -> None:
        for word in instruction.ports:
            try:
                ports = expand_words(word, env, self._escape)
            except DockerfileError:
                continue
            for port in ports:
                numbers, _, protocol = port.partition("/")
                if protocol != protocol.lower():
                    detail = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                    self._report.add("ExposeProtoCasing", detail, instruction)
                if ":" in numbers:
                    detail = (
                        "EXPOSE instruction should not define an IP address or host-port mapping, "
                        f"found '{port}'"
                    )
                    self._report.add("ExposeInvalidFormat", detail, instruction)


def _words(instruction: Instruction) -> Iterator[str]:
    """The words of an instruction that variables are substituted in, but defaults of ARG."""
    if isinstance(instruction, (Env, Label)):
        for pair in instruction.pairs:
            yield from pair
    elif isinstance(instruction, (Copy, Add)):
        yield from (*instruction.sources, instruction.destination, instruction.chown, instruction.chmod)
        if isinstance(instruction, Add):
            yield instruction.checksum
    elif isinstance(instruction, Run):
        yield from (*instruction.mounts, *instruction.devices)
    elif isinstance(instruction, (Workdir, User, StopSignal)):
        yield _only_word(instruction)
    elif isinstance(instruction, Volume):
        yield from instruction.paths


def _only_word(instruction: Workdir | User | StopSignal) -> str:
    if isinstance(instruction, Workdir):
        return instruction.path
    return instruction.user if isinstance(instruction, User) else instruction.signal


def _bodies(instruction: Instruction) -> Sequence[str]:
    if not isinstance(instruction, (Copy, Add)):
        return ()
    return [heredoc.content for heredoc in instruction.heredocs if heredoc.expand]


def _hint(name: str, options: Sequence[str], prefix: str = "") -> str:
    found = nearest(name, options)
    return f" (did you mean {prefix}{found}?)" if found else ""
