"""What steps are called while they are built: `[build 2/5] RUN make`, as BuildKit has it.

Source: moby/buildkit, dockerfile2llb/convert.go (prefixCommand, formatTargetPlatform).
"""

from __future__ import annotations

from collections.abc import Mapping

from corten.builder.args import target_of
from corten.builder.convert import StagePlan, Step
from corten.builder.credentials import redacted
from corten.builder.dockerfile.instructions import Copy, Instruction, Run
from corten.builder.dockerfile.stages import Dockerfile
from corten.builder.graph import GitSource, HttpSource, Vertex
from corten.digest import Digest
from corten.platforms import Platform, normalized
from corten.reference import shown_image


def step_names(
    dockerfile: Dockerfile, plan: StagePlan, *, several: bool = False
) -> dict[Digest, tuple[str, Instruction]]:
    """Names (and instructions) of a stage's vertices, by digest. `several`: platforms, so each is named."""
    steps = [step for step in _all_steps(plan) if step.vertex is not None]
    first = plan.steps[0]
    from_image = bool(plan.base_id)
    total = len(steps) + from_image
    words = []
    if plan.stage.base.alias:
        words.append(plan.stage.base.alias)
    else:
        words.append(f"stage-{plan.stage.index}")
    if _is_alone(dockerfile):
        words = []
    width = len(str(total))

    def name(number: int, text: str, variables: Mapping[str, str]) -> str:
        platform = [_platforms(plan.platform, target_of(variables))] if several else []
        return f"[{' '.join([*platform, *words, f'{number:{width}}/{total}'])}] {text}"

    names: dict[Digest, tuple[str, Instruction]] = {}
    if from_image:
        base = _base(first)
        names[base.digest] = (name(1, f"FROM {shown_image(base.name)}", {}), first.instruction)
    triggered = len([step for step in first.triggers if step.vertex is not None])
    for number, step in enumerate(steps):
        assert step.vertex is not None
        text = f"ONBUILD {step.shown}" if number < triggered else step.shown
        shown = name(number + 1 + from_image, redacted(text), step.variables)
        names[step.vertex.digest] = (shown, step.instruction)
        for source in step.vertex.inputs:
            if isinstance(source.op, HttpSource | GitSource):
                names[source.digest] = (shown, step.instruction)
    return names


def _is_alone(dockerfile: Dockerfile) -> bool:
    """Whether a stage is all there is: whatever else a command sees counts as one, too."""
    first, *others = dockerfile.stages
    return not others and not any(
        bool(each.mounts) if isinstance(each, Run) else isinstance(each, Copy) and bool(each.source_from)
        for each in first.instructions
    )


def metadata_name(reference: str, platform: Platform | None = None) -> str:
    """What the looking up of an image is called. `platform`: said if several are built."""
    words = "internal" if platform is None else f"{platform} internal"
    return f"[{words}] load metadata for {shown_image(reference)}"


def _platforms(own: Platform, builds_for: Platform | None) -> str:
    """`linux/amd64`, and `linux/amd64->arm64` where a compiler makes things for another one."""
    if builds_for is None:
        return str(own)
    target = normalized(
        builds_for.os or own.os, builds_for.architecture or own.architecture, builds_for.variant
    )
    if target.os != own.os:
        return f"{own}->{target}"
    if target.architecture != own.architecture:
        return f"{own}->{str(target).partition('/')[2]}"
    return str(own)


def _base(first: Step) -> Vertex:
    """What the FROM itself has given, before the triggers of its image."""
    made = [trigger.vertex for trigger in first.triggers if trigger.vertex is not None]
    return made[0].inputs[0] if made else first.root


def _all_steps(plan: StagePlan) -> list[Step]:
    return [each for step in plan.steps for each in (*step.triggers, step)]
