"""Questions about a Dockerfile, answered with what the engine knows: its images and the context's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from corten.builder.args import BuildArgs, predefined_args
from corten.builder.calls import Answer, lint_answer, outline_answer, targets_answer
from corten.builder.convert import find_target
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.rules import Check, Finding, parse_check
from corten.builder.dockerfile.shell import expand
from corten.builder.dockerfile.stages import Dockerfile, read_dockerfile
from corten.builder.ignore import IgnoreMatcher
from corten.builder.image import ImageState, base_image
from corten.builder.lint.check import check
from corten.builder.liveness import live_stages
from corten.builder.sources import Images
from corten.errors import CortenError, InvalidParameter
from corten.platforms import Platform, host_platform, parse_platform

CALLS = ("check", "lint", "outline", "targets")
_CHECK_ARG = "BUILDKIT_DOCKERFILE_CHECK"
_REMEMBERED = 16  # checks: every build makes them, and most builds are repeated
_SMALL = 32 << 10  # bytes of what is checked


class Questions:
    """What can be asked about one Dockerfile. Images are looked up, never fetched."""

    def __init__(
        self,
        source: str,
        images: Images,
        *,
        filename: str = "Dockerfile",
        build_args: Mapping[str, str | None] | None = None,
        target: str = "",
        platform: Platform | None = None,
        ignore: Sequence[str] = (),
    ) -> None:
        """`ignore`: patterns of `.dockerignore`. Raises InvalidParameter for one that is none."""
        self._source = source
        self._images = images
        self._filename = filename
        self._build_args = build_args or {}
        self._target = target
        self._platform = platform
        self._ignore = tuple(ignore)
        IgnoreMatcher(ignore)  # raises

    def answer(self, call: str) -> Answer:
        """Raises InvalidParameter for an unknown question, DockerfileError unless it is `check`."""
        if call not in CALLS:
            raise InvalidParameter(f'invalid call "{call}"')
        if call in ("check", "lint"):
            return self._lint()
        dockerfile = read_dockerfile(self._source)
        if call == "targets":
            return targets_answer(dockerfile, self._source)
        target = find_target(dockerfile, self._target)
        return outline_answer(
            dockerfile,
            self._source,
            target=target,
            live=live_stages(dockerfile, target, self._expanded(dockerfile)),
            build_args=self._build_args,
            platform=self._platform,
        )

    def _lint(self) -> Answer:
        try:
            dockerfile = read_dockerfile(self._source)
            findings = self.findings(dockerfile)
        except DockerfileError as error:
            return lint_answer(self._source, self._filename, [], error)
        return lint_answer(self._source, self._filename, findings)

    def findings(self, dockerfile: Dockerfile) -> Sequence[Finding]:
        """What the checks find: in the stages that the target needs, without a target in all."""
        names = self._expanded(dockerfile)
        bases = tuple(map(self._base, names, self._expanded(dockerfile, platforms=True)))
        given = tuple(self._build_args.items())
        size = len(self._source) + len(repr((given, self._ignore))) + sum(map(len, filter(None, bases)))
        return (_checked_again if size <= _SMALL else _checked)(
            dockerfile,
            tuple(names),
            bases,
            self.options(dockerfile),
            given,
            self._target,
            self._platform,
            self._ignore,
        )

    def options(self, dockerfile: Dockerfile) -> Check:
        """Which checks are wanted: the build argument goes before the file's directive."""
        text = self._build_args.get(_CHECK_ARG)
        return parse_check(text) if text else dockerfile.directives.check

    def _base(self, name: str, platform: str) -> bytes | None:
        """The config document of the image that a stage begins with."""
        try:
            wanted = parse_platform(platform) if platform else self._platform
            found = self._images.find(name, wanted) if name else None
        except CortenError:
            return None  # no reference: the build will say so
        return found.config if found else None

    def _expanded(self, dockerfile: Dockerfile, *, platforms: bool = False) -> list[str]:
        """What each FROM names, or the platform that it says; "" if it makes no sense."""
        target = self._platform or host_platform()
        escape = dockerfile.directives.escape
        predefined = predefined_args(host_platform(), target, dockerfile.target_name(self._target))
        args = BuildArgs(self._build_args, predefined, escape)
        for meta_arg in dockerfile.meta_args:
            with suppress(DockerfileError):
                args.declare_global(meta_arg)
        names = []
        for stage in dockerfile.stages:
            try:
                word = stage.base.platform if platforms else stage.base.image
                names.append(expand(word, args.globals, escape))
            except DockerfileError:
                names.append("")
        return names


def _checked(
    dockerfile: Dockerfile,
    names: Sequence[str],
    bases: Sequence[bytes | None],
    options: Check,
    build_args: Sequence[tuple[str, str | None]],
    target: str,
    platform: Platform | None,
    ignore: Sequence[str],
) -> Sequence[Finding]:
    """What the checks find. All that they depend on is an argument."""
    stages = live_stages(dockerfile, find_target(dockerfile, target), names) if target else None
    return tuple(
        check(
            dockerfile,
            bases=dict(enumerate(map(_state, bases))),
            options=options,
            build_args=dict(build_args),
            platform=platform,
            ignore=IgnoreMatcher(ignore) if ignore else None,
            target=target,
            stages=stages,
        )
    )


_checked_again = lru_cache(_REMEMBERED)(_checked)


def _state(config: bytes | None) -> ImageState | None:
    with suppress(CortenError):  # no sound image: the build will say so
        return base_image(config) if config is not None else None
    return None
