"""Which stages a target needs: nothing else of a Dockerfile is built."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import Copy, Onbuild, Run
from corten.builder.dockerfile.mounts import parse_mount
from corten.builder.dockerfile.stages import Dockerfile, Stage


def live_stages(
    dockerfile: Dockerfile, target: int, base_names: Sequence[str], replaced: Collection[str] = ()
) -> list[int]:
    """The stages that the target needs, in the order of the file.

    base_names: what each stage's FROM names, variables substituted. replaced: stages that named contexts
    stand for, which therefore need nothing.
    """
    live: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index not in live:
            live.add(index)
            if dockerfile.stages[index].base.alias in replaced:
                continue
            used = (dockerfile.find_source(name, before=index) for name in _used(dockerfile.stages[index]))
            found = (dockerfile.find_stage(base_names[index], before=index), *used)
            waiting += [earlier for earlier in found if earlier is not None]
    return sorted(live)


def _used(stage: Stage) -> list[str]:
    """What COPY --from and mounts of the stage name."""
    names = []
    for instruction in stage.instructions:
        inner = instruction.trigger if isinstance(instruction, Onbuild) else instruction
        if isinstance(inner, Copy) and inner.source_from:
            names.append(inner.source_from)
        elif isinstance(inner, Run):
            names += [name for text in inner.mounts if (name := _mounted_from(text))]
    return names


def _mounted_from(text: str) -> str:
    try:
        return parse_mount(text).source_from
    except DockerfileError:
        return ""  # said again, with its place, when the instruction is converted
