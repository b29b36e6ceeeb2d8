"""Instructions → stages: what stands before the first FROM, and what belongs to which FROM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from corten.builder.dockerfile.directives import Directives
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import Arg, From, Instruction
from corten.builder.dockerfile.parser import parse
from corten.builder.dockerfile.rules import Finding
from corten.builder.dockerfile.typed import instruction

NO_STAGE = "no build stage in current context"

_NUMBER = re.compile("0*([0-9]{1,18})")
_REMEMBERED = 16  # files: who builds is likely to build again
_SMALL = 16 << 10  # bytes: what is remembered is many times as large


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One FROM with its instructions. `index` counts from 0; `name` is the alias or the index."""

    index: int
    base: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """How other stages may call it."""
        return self.base.alias or str(self.index)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dockerfile:
    """A whole file, as it was read once. `meta_args` are the ARGs before the first FROM."""

    directives: Directives
    meta_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[Finding, ...] = ()

    def instructions(self) -> Iterator[Instruction]:
        """All of them in the order of the file."""
        yield from self.meta_args
        for stage in self.stages:
            yield stage.base
            yield from stage.instructions

    def target_name(self, target: str) -> str:
        """What the argument TARGETSTAGE says if `target` is asked for ("" = the last stage)."""
        return target or next((stage.base.alias for stage in self.stages[-1:]), "") or "default"

    def find_stage(self, name: str, *, before: int | None = None) -> int | None:
        """Index of the stage with this name (case does not matter); the last of equal names.

        `before`: only stages with a smaller index, as FROM sees them.
        """
        for stage in reversed(self.stages[:before]):
            if stage.base.alias and stage.base.alias == name.lower():
                return stage.index
        return None

    def find_source(self, name: str, *, before: int) -> int | None:
        """As `find_stage`, but also by number: what `--from` of the stage `before` means."""
        found = self.find_stage(name, before=before)
        number = stage_number(name)
        return number if found is None and number is not None and number < before else found


def stage_number(name: str) -> int | None:
    """The number that a `--from` is; None = it is a name, as is what has more digits than Go's integers."""
    number = _NUMBER.fullmatch(name)
    return int(number[1]) if number else None


def read_dockerfile(source: str | bytes) -> Dockerfile:
    """Parse and check a Dockerfile down to its stages. Raises DockerfileError."""
    return (_read_again if len(source) <= _SMALL else _read)(source)


def _read(source: str | bytes) -> Dockerfile:
    tree = parse(source)
    meta_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for node in tree.nodes:
        found = instruction(node)
        if isinstance(found, From):
            stages.append((found, []))
        elif stages:
            stages[-1][1].append(found)
        elif isinstance(found, Arg):
            meta_args.append(found)
        else:
            raise DockerfileError(NO_STAGE, line=node.start, end_line=node.end, located=False)
    return Dockerfile(
        directives=tree.directives,
        meta_args=tuple(meta_args),
        stages=tuple(
            Stage(index=index, base=base, instructions=tuple(body))
            for index, (base, body) in enumerate(stages)
        ),
        warnings=tree.warnings,
    )


_read_again = lru_cache(_REMEMBERED)(_read)


def read_trigger(expression: str) -> Instruction:
    """The instruction in an image's ONBUILD list. Raises DockerfileError."""
    nodes = parse(expression).nodes
    if len(nodes) != 1:
        raise DockerfileError("onbuild trigger should be a single expression", located=False)
    if nodes[0].keyword in ("onbuild", "from", "maintainer"):
        raise DockerfileError(
            f"{nodes[0].keyword.upper()} isn't allowed as an ONBUILD trigger", located=False
        )
    return instruction(nodes[0])
