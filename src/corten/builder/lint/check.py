"""All checks over one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product

from corten.builder.args import BuildArgs, predefined_args
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import Instruction
from corten.builder.dockerfile.rules import Check, Finding
from corten.builder.dockerfile.stages import Dockerfile, read_trigger
from corten.builder.ignore import IgnoreMatcher
from corten.builder.image import ImageState, scratch_image
from corten.builder.lint.report import Report
from corten.builder.lint.text import check_stage_text, check_text
from corten.builder.lint.variables import Names, Scope
from corten.platforms import Platform, host_platform


def check(
    dockerfile: Dockerfile,
    *,
    bases: Mapping[int, ImageState | None],
    options: Check | None = None,
    build_args: Mapping[str, str | None] | None = None,
    platform: Platform | None = None,
    ignore: IgnoreMatcher | None = None,
    target: str = "",
    stages: Sequence[int] | None = None,
) -> list[Finding]:
    """What the checks find, by lines.

    bases: the image that a stage begins with, by the stage's index; None = not known, then nothing is said
    about variables that it may define. Stages that begin with another stage need none. options: instead of
    the file's own `# check=`. ignore: what the context leaves out. target: the stage that is asked for, "" =
    the last one. stages: only these (what a target needs).
    """
    escape = dockerfile.directives.escape
    report = Report(options or dockerfile.directives.check)
    wanted = platform or host_platform()
    known = predefined_args(host_platform(), wanted, dockerfile.target_name(target))
    given = build_args or {}
    args, defaults = BuildArgs(given, known, escape), BuildArgs({}, known, escape)
    for each, meta_arg in product((args, defaults), dockerfile.meta_args):
        with suppress(DockerfileError):  # the build will say so, if it needs the default
            each.declare_global(meta_arg)
    declared = [name for meta_arg in dockerfile.meta_args for name, _ in meta_arg.args]
    check_text(dockerfile, report)
    names = Names(args, escape, report)
    scopes: dict[int, Scope] = {}
    shells: dict[int, bool] = {}
    for stage in dockerfile.stages:
        image = names.check_from(stage.base, defaults.globals, declared)
        earlier = dockerfile.find_stage(image, before=stage.index)
        base = scratch_image(wanted) if image == "scratch" else bases.get(stage.index)
        if earlier is not None:
            scope, has_shell = scopes[earlier].copy(), shells[earlier]
        else:
            scope = Scope(env=base.env() if base else {}, complete=base is not None)
            has_shell = bool(base and base.config.shell)
            if base is not None and image != "scratch":
                names.check_base(stage.base, image, base.platform, wanted)
        scopes[stage.index] = scope
        triggers = (base.config.on_build or []) if base is not None else []
        instructions: list[Instruction] = [*map(read_trigger, triggers), *stage.instructions]
        shells[stage.index] = has_shell or any(each.keyword.upper() == "SHELL" for each in instructions)
        if stages is not None and stage.index not in stages:
            continue
        check_stage_text(instructions, report, has_shell=has_shell, ignore=ignore)
        for instruction in instructions:
            names.check(instruction, scope)
    return sorted(report.findings, key=lambda finding: finding.line)
