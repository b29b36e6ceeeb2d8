"""Dockerfile → graph of vertices + image configuration, stage by stage, on demand.

A stage is converted when the target, or a stage that the target needs, asks for it: dead stages cost
nothing, stages that do not need each other are converted side by side. Converting needs the
configuration of base images (environment, ONBUILD), so it waits for them; it executes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from corten.builder import copies, runs
from corten.builder.args import SCAN_CONTEXT, SCAN_STAGE, BuildArgs, predefined_args
from corten.builder.booleans import parse_bool
from corten.builder.dockerfile.errors import DockerfileError, suggest
from corten.builder.dockerfile.instructions import Add, Copy, From, Instruction, Label, Run, Workdir
from corten.builder.dockerfile.shell import Usage, expand
from corten.builder.dockerfile.stages import Dockerfile, Stage, read_trigger, stage_number
from corten.builder.graph import SCRATCH, CopyAction, File, ImageSource, Vertex
from corten.builder.image import ImageState, base_image, scratch_image
from corten.builder.liveness import live_stages
from corten.builder.owned import Owned
from corten.builder.showing import shown_instruction
from corten.builder.sources import (
    BaseImage,
    FindCredentials,
    Images,
    NamedContext,
    context_of,
    no_credentials,
)
from corten.builder.stage import StageState, changes_only_config, configure
from corten.errors import CortenError, InvalidParameter
from corten.platforms import Platform, host_platform, parse_platform
from corten.reference import InvalidReference, shown_image
from corten.types.progress import JSONMessage

_COMMON_IMAGES = ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What the caller of a build decides. `network`: what RUN without --network gets.

    `classic`: refuse the copies that Docker's classic builder refuses and BuildKit makes something of.
    """

    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: Platform | None = None
    network: str = "default"
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    pull: bool = False
    credentials: FindCredentials = no_credentials
    entitlements: frozenset[str] = frozenset()
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    classic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one instruction has done: `image` and `root` are those after it.

    `vertex` is the work to be done, None if only the configuration changed; `shown`: what people are told
    of it; `variables`: those that it sees, `StageState` has them. `triggers`: steps
    that an ONBUILD of the base image has added to a FROM.
    """

    instruction: Instruction
    image: ImageState
    root: Vertex
    vertex: Vertex | None = None
    shown: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    triggers: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Mistake:
    """An instruction that could not be converted, and why."""

    instruction: Instruction
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A converted stage; its first step is the FROM. With a `mistake`, the steps are those before it.

    `platform`: of what runs in it. `variables`, `args`, `scans`: as in `StageState`, at its end.
    """

    stage: Stage
    platform: Platform
    steps: tuple[Step, ...]
    variables: Mapping[str, str]
    args: Sequence[str]
    scans: Mapping[str, str]
    base_id: str
    mistake: Mistake | None = None

    @property
    def name(self) -> str:
        """What the stage is called; one without a name by its number."""
        return self.stage.base.alias or f"stage-{self.stage.index}"

    @property
    def last(self) -> Step:
        """The step whose image and root are the stage's. Raises the mistake's error if there is one."""
        if self.mistake is not None:
            raise self.mistake.error
        return self.steps[-1]


class Unresolved(InvalidParameter):
    """An instruction names a stage or an image that cannot be had. `buildkits`: as BuildKit says it."""

    def __init__(self, message: str, buildkits: str, at: Instruction) -> None:
        super().__init__(message)
        self.buildkits = buildkits
        self.line, self.end_line = at.line, at.end_line


class NoSuchStage(Unresolved):
    """`--from` names the stage that it stands in, or the number of none."""

    def __init__(self, name: str, stage: Stage, at: Instruction) -> None:
        is_this = stage_number(name) in (None, stage.index)
        why = "refers to current build stage" if is_this else "index out of bounds"
        this = stage.base.alias or f"stage-{stage.index}"
        buildkits = (
            f"circular dependency detected on stage: {this}" if is_this else f"invalid stage index {name}"
        )
        super().__init__(f"invalid from flag value {name}: {why}", buildkits, at)


class NoSuchImage(Unresolved):
    """An image is neither here nor to be pulled. `stages`: what else could have been meant."""

    def __init__(self, name: str, error: CortenError, at: Instruction, stages: Sequence[str]) -> None:
        what = f"failed to resolve source metadata for {shown_image(name)}"
        buildkits = suggest(f"{name}: {what}: {error}", name, (*stages, *_COMMON_IMAGES))
        super().__init__(str(error), buildkits, at)


class Converter:
    """The conversion of one Dockerfile. `on_progress` hears of pulls: (index of the stage, message)."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        options: ConvertOptions,
        images: Images,
        context: Vertex,
        tasks: asyncio.TaskGroup,
        on_progress: Callable[[int, JSONMessage], None],
    ) -> None:
        """Check all that can be checked at once. Raises DockerfileError, InvalidParameter."""
        self.dockerfile = dockerfile
        self.options = options
        self.target = find_target(dockerfile, options.target)
        self.platform = options.platform or host_platform()
        self._images = images
        self._context = context
        self._tasks = tasks
        self._on_progress = on_progress
        self._plans: dict[int, Owned[StagePlan]] = {}
        self._other_images: dict[str, Owned[Vertex]] = {}
        self._escape = dockerfile.directives.escape
        stage = dockerfile.target_name(options.target)
        self.build_args = BuildArgs(
            options.build_args, predefined_args(host_platform(), self.platform, stage), self._escape
        )
        for meta_arg in dockerfile.meta_args:
            self.build_args.declare_global(meta_arg)
        self._bases = [self._base_name(stage.base) for stage in dockerfile.stages]

    def live_stages(self) -> list[int]:
        """The stages that the target needs, in the order of the file."""
        return live_stages(self.dockerfile, self.target, self._bases, self.options.contexts)

    def image_name(self, index: int) -> str:
        """The image that a stage begins with; "" if it begins with a stage, a context or nothing."""
        name = self._bases[index]
        stage = self.dockerfile.stages[index]
        is_image = (
            name != "scratch"
            and self._replaced(stage) is None
            and self.dockerfile.find_stage(name, before=index) is None
        )
        return name if is_image else ""

    def _base_name(self, base: From) -> str:
        try:
            name = expand(base.image, self.build_args.globals, self._escape)
        except DockerfileError as error:
            raise _located(error.message, base) from error
        if not name:
            raise _located(f"base name ({base.image}) should not be blank", base)
        return name

    @property
    def planned(self) -> list[int]:
        """The stages that have been converted, or are being."""
        return sorted(self._plans)

    async def plan(self, index: int) -> StagePlan:
        """The stage with this index, converted once however often it is asked for."""
        plan = self._plans.get(index)
        if plan is None:
            plan = self._plans[index] = Owned(self._tasks, self._convert(self.dockerfile.stages[index]))
        return await plan.wait()

    async def scanned(self) -> Mapping[str, Vertex]:
        """What an SBOM tells of besides the target: stages that it needs, what it takes of the context.

        Source: docs.docker.com/build/metadata/attestations/sbom (arguments BUILDKIT_SBOM_SCAN_...).
        """
        found: dict[str, Vertex] = {}
        if self._is_scanned(await self.plan(self.target), SCAN_CONTEXT):
            found["context"] = self._context
        for index in self.planned:
            plan = await self.plan(index)
            if index != self.target and self._is_scanned(plan, SCAN_STAGE):
                found[plan.name] = plan.last.root
        return found

    def _is_scanned(self, plan: StagePlan, argument: str) -> bool:
        """The argument is a truth value, or names stages."""
        value = plan.scans.get(argument, self.build_args.globals.get(argument, ""))
        wanted = parse_bool(value)
        return plan.name in value.split(",") if wanted is None else wanted

    async def _convert(self, stage: Stage) -> StagePlan:
        state, base_id, platform = await self._begin(stage)
        triggers = [
            await self._checked_step(stage, state, read_trigger(expression))
            for expression in self._take_triggers(state)
        ]
        steps = [Step(instruction=stage.base, image=state.image, root=state.root, triggers=tuple(triggers))]
        mistake: Mistake | None = None
        for instruction in self.instructions(stage):
            try:
                steps.append(await self._checked_step(stage, state, instruction))
            except Exception as error:
                # What stands before it is built and printed all the same, as Docker does.
                mistake = Mistake(instruction, error)
                break
        # The history tells nothing of them.
        if self.options.labels and stage.index == self.target and not self.options.classic:
            steps[-1] = replace(steps[-1], image=steps[-1].image.with_labels(self.options.labels))
        return StagePlan(
            stage=stage,
            platform=platform,
            steps=tuple(steps),
            variables=state.variables,
            args=state.args,
            scans=state.scans,
            base_id=base_id,
            mistake=mistake,
        )

    def instructions(self, stage: Stage) -> list[Instruction]:
        """Those of the stage; the classic builder's target ends with the labels that the caller adds.

        A stage that a named context stands for has none of its own.
        """
        own = () if self._replaced(stage) else stage.instructions
        if stage.index != self.target or not self.options.classic:
            return list(own)
        return [*own, *(_label(*item) for item in sorted(self.options.labels.items()))]

    def _replaced(self, stage: Stage) -> NamedContext | None:
        return self.options.contexts.get(stage.base.alias) if stage.base.alias else None

    async def _begin(self, stage: Stage) -> tuple[StageState, str, Platform]:
        name = self._bases[stage.index]
        replaced = self._replaced(stage)
        earlier = None if replaced else self.dockerfile.find_stage(name, before=stage.index)
        named = replaced or (context_of(self.options.contexts, name) if earlier is None else None)
        base_id = ""
        platform = self.platform if earlier is not None else self.platform_of(stage)
        variables: Mapping[str, str] | None = None
        args: Sequence[str] = ()
        scans: Mapping[str, str] = {}
        if earlier is not None:
            plan = await self.plan(earlier)
            root, image, platform = plan.last.root, plan.last.image, plan.platform
            variables, args, scans = plan.variables, plan.args, plan.scans
        elif named is not None and named.vertex is not None:
            root, image = _root_of(named, named.vertex, platform)
        elif name == "scratch" and named is None:
            root, image = SCRATCH, scratch_image(platform)
        else:
            name = named.image if named else name
            found = await self._resolved(stage, name, self._asked_platform(stage), stage.base)
            root, image = Vertex(op=ImageSource(diff_ids=found.diff_ids), name=name), base_image(found.config)
            base_id = found.id
        state = StageState(
            root=root,
            image=image,
            build_args=self.build_args,
            escape=self._escape,
            variables=dict(image.env() if variables is None else variables),
            args=list(args),
            scans=dict(scans),
            classic=self.options.classic,
        )
        return state, base_id, platform

    def platform_of(self, stage: Stage) -> Platform:
        """What a stage that begins with no other one is built on. Raises DockerfileError."""
        return self._asked_platform(stage) or self.platform

    def _asked_platform(self, stage: Stage) -> Platform | None:
        if not stage.base.platform:
            return self.options.platform
        usage = Usage()
        text = expand(stage.base.platform, self.build_args.globals, self._escape, usage)
        try:
            if text:
                return parse_platform(text)
            message = f"empty platform value from expression {stage.base.platform}"
        except InvalidParameter as error:
            message = f"failed to parse platform {stage.base.platform}: {error}"
        for name in sorted(usage.unmatched)[:1]:
            message = suggest(message, name, self.build_args.globals)
        raise _located(message, stage.base)

    def _take_triggers(self, state: StageState) -> list[str]:
        triggers = state.image.config.on_build or []
        state.image = state.image.with_config(on_build=None)
        return triggers

    async def _checked_step(self, stage: Stage, state: StageState, instruction: Instruction) -> Step:
        try:
            return await self._step(stage, state, instruction)
        except Unresolved:
            raise
        except DockerfileError as error:
            if error.line:
                raise
            raise _located(error.message, instruction) from error
        except InvalidParameter as error:
            raise _located(str(error), instruction) from error

    async def _step(self, stage: Stage, state: StageState, instruction: Instruction) -> Step:
        async def find(name: str) -> Vertex:
            return await self._find_source(stage, name, instruction)

        env = state.variables
        fresh = self.options.no_cache or stage.name in self.options.no_cache_stages
        vertex: Vertex | None = None
        if changes_only_config(instruction):
            configure(state, instruction)
        elif isinstance(instruction, Run):
            vertex = await runs.run(
                state,
                instruction,
                find,
                network=self.options.network,
                granted=self.options.entitlements,
                fresh=fresh,
            )
        elif isinstance(instruction, Copy):
            vertex = await copies.copy(state, instruction, find, fresh=fresh)
        elif isinstance(instruction, Add):
            vertex = await copies.add(state, instruction, find, fresh=fresh)
        else:
            assert isinstance(instruction, Workdir)
            vertex = copies.workdir(state, instruction, fresh=fresh)
        shown = shown_instruction(instruction, env, self._escape) if vertex is not None else ""
        return Step(
            instruction=instruction,
            image=state.image,
            root=state.root,
            vertex=vertex,
            shown=shown,
            variables=env,
        )

    async def _find_source(self, stage: Stage, name: str, instruction: Instruction) -> Vertex:
        """A stage, or an image, or (no name) the context."""
        if not name:
            return self._context
        earlier = self.dockerfile.find_source(name, before=stage.index)
        if earlier is not None:
            replaced = self._replaced(self.dockerfile.stages[earlier])
            if replaced is not None and replaced.vertex is not None:
                return replaced.vertex
            return (await self.plan(earlier)).last.root
        if stage_number(name) is not None or name.lower() == stage.base.alias:
            raise NoSuchStage(name, stage, instruction)
        if self.dockerfile.find_stage(name) is not None:
            this = stage.base.alias or f"stage-{stage.index}"
            raise DockerfileError(
                f'cannot copy from stage "{name}", it needs to be defined before current stage "{this}"'
                if isinstance(instruction, Copy)
                else f'cannot mount from stage "{name}", stage needs to be defined before current command'
            )
        if name == "scratch":
            return SCRATCH
        named = context_of(self.options.contexts, name)
        if named is not None:
            if named.vertex is not None:
                return named.vertex
            name = named.image
        image = self._other_images.get(name)
        if image is None:
            image = self._other_images[name] = Owned(
                self._tasks, self._image_vertex(stage, name, instruction)
            )
        return await image.wait()

    async def _image_vertex(self, stage: Stage, name: str, instruction: Instruction) -> Vertex:
        found = await self._resolved(stage, name, self.options.platform, instruction)
        return Vertex(op=ImageSource(diff_ids=found.diff_ids), name=name)

    async def _resolved(
        self, stage: Stage, name: str, platform: Platform | None, at: Instruction
    ) -> BaseImage:
        """The image of this name, which the instruction asks for. Raises DockerfileError, NoSuchImage."""
        try:
            return await self._images.resolve(
                name,
                platform=platform,
                pull=self.options.pull,
                credentials=self.options.credentials,
                on_progress=lambda message: self._on_progress(stage.index, message),
            )
        except InvalidReference as error:
            raise _located(f'failed to parse stage name "{name}": {error}', at) from error
        except CortenError as error:
            stages = [each.base.alias for each in self.dockerfile.stages if each.base.alias]
            raise NoSuchImage(name, error, at, stages) from error


def _located(message: str, at: Instruction) -> DockerfileError:
    return DockerfileError(message, line=at.line, end_line=at.end_line, located=False)


def _root_of(named: NamedContext, vertex: Vertex, platform: Platform) -> tuple[Vertex, ImageState]:
    """What a stage begins with whose FROM names a context."""
    root = vertex if named.config is not None else as_root(vertex)
    return root, base_image(named.config) if named.config else scratch_image(platform)


def as_root(files: Vertex) -> Vertex:
    """A root that holds the files of a context."""
    copied = CopyAction(input=1, sources=("/",), destination="/")
    return Vertex(op=File(actions=(copied,)), inputs=(SCRATCH, files), name=f"FROM {files.name}")


def find_target(dockerfile: Dockerfile, target: str) -> int:
    """Index of the stage to build. Raises DockerfileError, InvalidParameter with Docker's texts."""
    if not dockerfile.stages:
        raise DockerfileError("dockerfile contains no stages to build", located=False)
    if not target:
        return len(dockerfile.stages) - 1
    found = dockerfile.find_stage(target)
    if found is None:
        names = [stage.base.alias for stage in dockerfile.stages if stage.base.alias]
        raise InvalidParameter(suggest(f'target stage "{target}" could not be found', target, names))
    return found


def _label(name: str, value: str) -> Label:
    """A label of `--label`; quoted, because nothing in it is to be substituted."""
    quoted = [("'" + text.replace("'", "'\"'\"'") + "'") for text in (name, value)]
    return Label(text=f"LABEL {name}={value}", line=0, end_line=0, pairs=((quoted[0], quoted[1]),))
