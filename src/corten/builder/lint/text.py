"""The checks that need nothing but the text: cases of words, names of stages, forms of instructions."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from corten.builder.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
)
from corten.builder.dockerfile.stages import Dockerfile, Stage
from corten.builder.ignore import IgnoreMatcher
from corten.builder.lint.report import Report

_RESERVED = ("context", "scratch")
_LAST_WINS = (Cmd, Entrypoint, Healthcheck)
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


def check_text(dockerfile: Dockerfile, report: Report) -> None:
    """Everything about the file as a whole."""
    for warning in dockerfile.warnings:
        report.add_finding(warning)
    for arg in dockerfile.meta_args:
        _description(arg, "ARG", [name for name, _ in arg.args], report)
    for stage in dockerfile.stages:
        _from(stage.base, report)
        for instruction in stage.instructions:
            if isinstance(instruction, Maintainer):
                detail = "Maintainer instruction is deprecated in favor of using label"
                report.add("MaintainerDeprecated", detail, instruction)
            elif isinstance(instruction, Arg):
                _description(instruction, "ARG", [name for name, _ in instruction.args], report)
    _stage_names(dockerfile.stages, report)
    _casing(dockerfile.stages, report)


def _from(base: From, report: Report) -> None:
    words = [word for word in base.text.split() if not word.startswith("--")]
    if len(words) < 4:
        return
    keyword, _, joint, name = words[:4]
    if name != name.lower():
        report.add("StageNameCasing", f"Stage name '{name}' should be lowercase", base)
    expected = {keyword.lower(): joint.lower(), keyword.upper(): joint.upper()}.get(keyword, joint)
    if joint != expected:
        report.add("FromAsCasing", f"'{joint}' and '{keyword}' keywords' casing do not match", base)
    _description(base, "FROM", [base.alias], report)


def _description(place: Instruction, keyword: str, names: Sequence[str], report: Report) -> None:
    if place.comments and place.comments[-1].split(" ")[0] not in names:
        shown = names[0] if len(names) == 1 else "<arg_key>"
        detail = f"Comment for {keyword} should follow the format: `# {shown} <description>`"
        report.add("InvalidDefinitionDescription", detail, place)


def _stage_names(stages: Sequence[Stage], report: Report) -> None:
    seen: set[str] = set()
    for stage in stages:
        name = stage.base.alias
        if name in _RESERVED:
            detail = f'Stage name should not use the same name as reserved stage "{name}"'
            report.add("ReservedStageName", detail, stage.base)
        if name in seen:
            detail = f'Duplicate stage name "{name}", stage names should be unique'
            report.add("DuplicateStageName", detail, stage.base)
        seen |= {name} if name else set()


def _casing(stages: Sequence[Stage], report: Report) -> None:
    """All like most of them; what is neither upper nor lower case has no say."""
    places = [place for stage in stages for place in (stage.base, *stage.instructions)]
    lower = sum(place.keyword.islower() for place in places)
    upper = sum(place.keyword.isupper() for place in places)
    wanted = "lowercase" if lower > upper else "uppercase"
    for place in places:
        if place.keyword != (place.keyword.lower() if lower > upper else place.keyword.upper()):
            detail = f"Command '{place.keyword}' should match the case of the command majority ({wanted})"
            report.add("ConsistentInstructionCasing", detail, place)


def check_stage_text(
    instructions: Sequence[Instruction], report: Report, *, has_shell: bool, ignore: IgnoreMatcher | None
) -> None:
    """Everything about one stage. `has_shell`: its base image sets SHELL. `ignore`: the context's rules."""
    last: dict[type[Instruction], Instruction] = {}
    for instruction in instructions:
        keyword = instruction.keyword.upper()
        if isinstance(instruction, _LAST_WINS):
            earlier = last.get(type(instruction))
            if earlier is not None:
                detail = (
                    f"Multiple {keyword} instructions should not be used in the same stage "
                    "because only the last one will be used"
                )
                report.add("MultipleInstructionsDisallowed", detail, earlier)
            last[type(instruction)] = instruction
        if isinstance(instruction, (Cmd, Entrypoint)) and not (instruction.command.exec_form or has_shell):
            detail = (
                f"JSON arguments recommended for {keyword} to prevent unintended behavior "
                "related to OS signals"
            )
            report.add("JSONArgsRecommended", detail, instruction)
        elif isinstance(instruction, (Env, Label)) and instruction.legacy:
            detail = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
            report.add("LegacyKeyValueFormat", detail, instruction)
        elif instruction.keyword.upper() == "SHELL":
            has_shell = True
        if isinstance(instruction, (Copy, Add)) and ignore is not None:
            _ignored(instruction, ignore, report)


def secret_key(keyword: str, name: str, place: Instruction, report: Report) -> None:
    """An ARG or ENV whose name says that its value is nobody's business."""
    if _SECRET.search(name) and not _NO_SECRET.search(name):
        detail = f'Do not use ARG or ENV instructions for sensitive data ({keyword} "{name}")'
        report.add("SecretsUsedInArgOrEnv", detail, place)


def _ignored(instruction: Copy | Add, ignore: IgnoreMatcher, report: Report) -> None:
    """Files of the context that are not in it. Where a `!` takes something back, nobody can tell."""
    if (isinstance(instruction, Copy) and instruction.source_from) or ignore.takes_back:
        return
    for source in instruction.sources:
        path = posixpath.normpath(source).lstrip("/")
        if "://" in source or path in ("", "."):
            continue
        if ignore.ignores(path):
            detail = (
                f'Attempting to {type(instruction).__name__} file "{path}" that is excluded by .dockerignore'
            )
            report.add("CopyIgnoredFile", detail, instruction)
