"""Build arguments: who declares them, where they are seen, which value wins.

    global      ARG before the first FROM; seen by FROM lines, and by a stage that declares it again
    stage       ARG inside a stage; seen from there on, and by stages built FROM that stage
    platform    TARGETPLATFORM, BUILDOS, ...: seen by FROM lines, and by a stage that declares them; so is
                TARGETSTAGE, the name of the stage that is built
    proxy       HTTP_PROXY and its kind: given to RUN undeclared, never in history or cache keys

The value: what the caller gave (`--build-arg`), else the default of the declaration, else the global's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from corten.builder.booleans import parse_bool
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import Arg
from corten.builder.dockerfile.shell import ShellError, expand
from corten.errors import InvalidParameter
from corten.platforms import Platform, parse_platform

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXY_NAMES = frozenset(name for kind in _PROXIES for name in (kind, kind.lower()))
SCAN_STAGE, SCAN_CONTEXT = "BUILDKIT_SBOM_SCAN_STAGE", "BUILDKIT_SBOM_SCAN_CONTEXT"
"""What else an SBOM is to tell of; they mean nothing to commands."""
HOSTNAME = "BUILDKIT_SANDBOX_HOSTNAME"
"""The host's name that commands see."""
CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
"""Cache mounts of one id are different ones in different namespaces."""
_KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
# Read by the builder itself, so that nobody need declare them.
_BUILDER_NAMES = frozenset(
    {"SOURCE_DATE_EPOCH", "BUILDKIT_SYNTAX", "BUILDKIT_DOCKERFILE_CHECK", "BUILDKIT_MULTI_PLATFORM"}
    | {"BUILDKIT_BUILD_NAME", "BUILDKIT_INLINE_CACHE", HOSTNAME, CACHE_NAMESPACE, _KEEP_GIT_DIR}
)


def keeps_git_dir(given: Mapping[str, str | None]) -> bool:
    """Whether a context that is a git repository is to have its `.git`, though its URL does not say so."""
    return parse_bool(given.get(_KEEP_GIT_DIR) or "") is True


def predefined_args(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    """The arguments that describe where the build runs, what it builds for, and which stage."""
    args = {"TARGETSTAGE": stage}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        args[f"{prefix}PLATFORM"] = str(platform)
        args[f"{prefix}OS"] = platform.os
        args[f"{prefix}ARCH"] = platform.architecture
        args[f"{prefix}VARIANT"] = platform.variant
    return args


def proxy_variables(given: Mapping[str, str | None]) -> dict[str, str]:
    """The proxies among the arguments as commands get them: in both spellings, as programs know one or other.

    Source: moby/buildkit, solver/llbsolver/ops/exec.go (proxyEnvList).
    """
    found = {}
    for upper in _PROXIES:
        value = given.get(upper) or given.get(upper.lower())
        if value:
            found[upper] = given.get(upper) or value
            found[upper.lower()] = given.get(upper.lower()) or value
    return found


def target_of(env: Mapping[str, str]) -> Platform | None:
    """What a stage says that it builds for, None if it has declared no such argument.

    Source: moby/buildkit, dockerfile2llb/convert.go (platformFromEnv).
    """
    with suppress(InvalidParameter):
        if text := env.get("TARGETPLATFORM"):
            return parse_platform(text)
    if not any(name in env for name in ("TARGETOS", "TARGETARCH", "TARGETVARIANT")):
        return None
    system, architecture = env.get("TARGETOS", ""), env.get("TARGETARCH", "")
    return Platform(system, architecture, env.get("TARGETVARIANT", ""))


class BuildArgs:
    """The arguments of one build: given, global, and which of those given somebody asked for."""

    def __init__(self, given: Mapping[str, str | None], predefined: Mapping[str, str], escape: str) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        self._names = frozenset(given)
        self._escape = escape
        self._declared: set[str] = set()
        self.globals = {name: self._given.get(name, value) for name, value in predefined.items()}

    def given(self, name: str) -> str | None:
        """What the caller gave for `name`, declared or not."""
        return self._given.get(name)

    def declare_global(self, instruction: Arg) -> None:
        """An ARG before the first FROM. Raises DockerfileError."""
        for name, default in instruction.args:
            value = self._value(name, default, self.globals, instruction)
            if value is not None:
                self.globals[name] = value

    def declare(self, instruction: Arg, env: Mapping[str, str]) -> list[tuple[str, str | None]]:
        """An ARG of a stage, whose defaults see `env`; the names with their values, None = has none.

        Raises DockerfileError.
        """
        seen = dict(env)
        declared: list[tuple[str, str | None]] = []
        for name, default in instruction.args:
            value = self._value(name, default, seen, instruction)
            if value is None:
                value = self.globals.get(name)
            if value is not None:
                seen[name] = value
            declared.append((name, value))
        return declared

    def _value(self, name: str, default: str | None, env: Mapping[str, str], at: Arg) -> str | None:
        self._declared.add(name)
        if name in self._given:
            return self._given[name]
        try:
            return None if default is None else expand(default, env, self._escape)
        except ShellError as error:
            raise DockerfileError(error.message, line=at.line, end_line=at.end_line, located=False) from error

    def unused(self) -> Sequence[str]:
        """Names that were given but that no ARG of the stages built has declared, sorted."""
        return sorted(self._names - self._declared - PROXY_NAMES - _BUILDER_NAMES - set(self.globals))
