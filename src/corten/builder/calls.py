"""What can be asked about a Dockerfile without building it: `docker build --call check|outline|targets`.

Each answer is a document (BuildKit's `result.json` of the subrequests frontend.lint, frontend.outline,
frontend.targets) and the text that shows it (`result.txt`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from corten.builder.args import BuildArgs, predefined_args
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import Arg, Instruction, Run
from corten.builder.dockerfile.mounts import parse_mount
from corten.builder.dockerfile.rules import Finding
from corten.builder.dockerfile.stages import Dockerfile, Stage
from corten.builder.excerpt import excerpt
from corten.platforms import Platform, host_platform

Json: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A document and its text; `status` is what a command line's exit code says of it."""

    document: Json
    text: str
    status: int = 0


def lint_answer(
    source: str, filename: str, findings: Sequence[Finding], error: DockerfileError | None = None
) -> Answer:
    """frontend.lint: what the checks found, and the error that a build would end with."""
    document: Json = {
        "warnings": [_warning(finding) for finding in findings] or None,
        "sources": [
            {
                "filename": filename,
                "data": base64.b64encode(source.encode()).decode(),
                "language": "Dockerfile",
            }
        ],
    }
    text = "".join(
        f"\nWARNING: {finding.rule.name}{f' - {finding.rule.url}' if finding.rule.url else ''}\n"
        f"{finding.detail}\n{excerpt(source, filename, finding.line, finding.end_line)}"
        for finding in findings
    )
    if error is not None:
        document["buildError"] = {
            "message": str(error),
            "location": _location(error.line, error.end_line) if error.line else {},
        }
        text += f"{error}\n{excerpt(source, filename, error.line, error.end_line)}"
    return Answer(document=document, text=text, status=int(bool(findings or error)))


def _warning(finding: Finding) -> Json:
    document = {
        "ruleName": finding.rule.name,
        "description": finding.rule.description,
        "url": finding.rule.url,
        "detail": finding.detail,
        "location": _location(finding.line, finding.end_line),
    }
    return {key: value for key, value in document.items() if value}


def _location(line: int, end_line: int) -> Json:
    return {"ranges": [{"start": {"line": line}, "end": {"line": end_line}}]}


def targets_answer(dockerfile: Dockerfile, source: str) -> Answer:
    """frontend.targets: the stages that can be built."""
    targets = []
    rows = [("TARGET", "DESCRIPTION")]
    for stage in dockerfile.stages:
        is_default = stage.index == len(dockerfile.stages) - 1
        description = _described(stage.base, stage.base.alias)
        document = {
            "name": stage.base.alias,
            "default": is_default,
            "description": description,
            "base": stage.base.image,
            "platform": stage.base.platform,
            "location": _location(stage.base.line, stage.base.end_line),
        }
        targets.append({key: value for key, value in document.items() if value})
        name = stage.base.alias
        if is_default:
            name = f"{name} (default)" if name else "(default)"
        rows.append((name, description))
    data = base64.b64encode(source.encode()).decode()
    return Answer(document={"targets": targets, "sources": [data]}, text=_table(rows, gap=1))


def outline_answer(
    dockerfile: Dockerfile,
    source: str,
    *,
    target: int,
    live: Sequence[int],
    build_args: Mapping[str, str | None] | None = None,
    platform: Platform | None = None,
) -> Answer:
    """frontend.outline: the arguments, secrets and ssh keys that building `target` makes use of.

    live: the stages that it needs.
    """
    stage = dockerfile.stages[target]
    description = _described(stage.base, stage.base.alias)
    stages = [dockerfile.stages[index] for index in live]
    name = dockerfile.target_name(stage.base.alias)
    known = predefined_args(host_platform(), platform or host_platform(), name)
    args = _arguments(dockerfile, stages, build_args or {}, known)
    secrets, agents = _mounts(stages, "secret"), _mounts(stages, "ssh")
    document: Json = {"name": stage.base.alias, "description": description}
    document |= {"args": args, "secrets": secrets, "ssh": agents}
    document = {key: value for key, value in document.items() if value}
    document["sources"] = [base64.b64encode(source.encode()).decode()]
    text = ""
    if stage.base.alias or description:
        rows = [("TARGET:", stage.base.alias or "(default)")]
        rows += [("DESCRIPTION:", description)] if description else []
        text += _table(rows, gap=1) + "\n"
    if args:
        rows3 = [("BUILD ARG", "VALUE", "DESCRIPTION")]
        rows3 += [(arg["name"], arg.get("value", ""), arg.get("description", "")) for arg in args]
        text += _table(rows3, gap=3) + "\n"
    for heading, mounts in (("SECRET", secrets), ("SSH", agents)):
        if mounts:
            rows = [(heading, "REQUIRED")]
            rows += [(mount["name"], "true" if mount.get("required") else "") for mount in mounts]
            text += _table(rows, gap=3) + "\n"
    return Answer(document=document, text=text)


def _arguments(
    dockerfile: Dockerfile,
    stages: Sequence[Stage],
    given: Mapping[str, str | None],
    known: Mapping[str, str],
) -> list[Json]:
    """Those that the stages declare, and the global ones that their FROMs use. `known`: predefined ones."""
    build_args = BuildArgs(given, known, dockerfile.directives.escape)
    found: dict[str, Json] = {}
    for meta_arg in dockerfile.meta_args:
        build_args.declare_global(meta_arg)
        for name, _ in meta_arg.args:
            found[name] = _argument(meta_arg, name, build_args.globals.get(name))
    used = {name for stage in stages for name in _names_in(stage, set(found))}
    for stage in stages:
        env = dict(build_args.globals)
        for instruction in stage.instructions:
            if not isinstance(instruction, Arg):
                continue
            values = dict(build_args.declare(instruction, env))
            for name, default in instruction.args:
                used.add(name)
                if name in known:
                    continue
                if name not in found or default is not None:
                    found[name] = _argument(instruction, name, values[name])
    shown = [argument for name, argument in found.items() if name in used]
    return sorted(shown, key=lambda argument: int(argument["location"]["ranges"][0]["start"]["line"]))


def _argument(instruction: Arg, name: str, value: str | None) -> Json:
    document = {
        "name": name,
        "description": _described(instruction, name),
        "value": value or "",
        "location": _location(instruction.line, instruction.end_line),
    }
    return {key: content for key, content in document.items() if content}


def _names_in(stage: Stage, names: set[str]) -> Iterator[str]:
    text = f"{stage.base.image} {stage.base.platform}"
    return (name for name in names if f"${name}" in text or f"${{{name}" in text)


def _mounts(stages: Sequence[Stage], kind: str) -> list[Json]:
    found: dict[str, Json] = {}
    for stage in stages:
        for instruction in stage.instructions:
            if not isinstance(instruction, Run):
                continue
            for text in instruction.mounts:
                try:
                    mount = parse_mount(text)
                except DockerfileError:
                    continue  # holds a variable; the build will know
                if mount.type == kind and mount.id not in found:
                    found[mount.id] = {
                        "name": mount.id,
                        **({"required": True} if mount.required else {}),
                        "location": _location(instruction.line, instruction.end_line),
                    }
    return list(found.values())


def _described(instruction: Instruction, name: str) -> str:
    """What a comment above says of a name: `# NAME description`."""
    if not name:
        return ""
    lines = (
        comment.removeprefix(f"{name} ") for comment in instruction.comments if comment.startswith(f"{name} ")
    )
    return next(lines, "")


def _table(rows: Sequence[tuple[str, ...]], *, gap: int) -> str:
    """Columns as Go's tabwriter aligns them: the last one is not padded."""
    widths = [max(len(row[column]) for row in rows) + gap for column in range(len(rows[0]) - 1)]
    lines = (
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)) + row[-1] for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
