"""A build told as BuildKit tells it: steps that begin, write, end, all of them at once.

Corten's own stream for `corten build` (`POST /build?trace=1`): JSON messages of the id "corten.trace" whose
aux has one of

    vertex    {id, name, started, completed, cached, error}   times in ns since 1970, 0 = not yet
    log       {vertex, stream, data}                          stream 1 or 2
    status    {vertex, id, current, total, done}              a part of a step; bytes
    warning   {rule, detail, line}                            what a build check has found
    failure   {name, log, excerpt}                            what to show before the error that ends it all

What is built is what BuildKit would build.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from corten.builder.convert import Converter, StagePlan, Unresolved
from corten.builder.dockerfile.instructions import Instruction
from corten.builder.dockerfile.rules import Finding
from corten.builder.excerpt import excerpt
from corten.builder.frontends.classic import Built
from corten.builder.goquote import go_quote
from corten.builder.graph import LocalSource, Vertex
from corten.builder.image import document, image_id
from corten.builder.ops.run import CommandFailed, NotStarted
from corten.builder.solver import Solve
from corten.builder.stepnames import metadata_name, step_names
from corten.builder.work import Cached, Output, Started, Work
from corten.digest import Digest
from corten.errors import InvalidParameter
from corten.types.progress import JSONMessage, StreamFailure

TRACE = "corten.trace"
CACHE = "corten.build.cache"
_LOG_KEPT = 20  # lines of output that are shown again with a failure
_OUTPUT_KEPT = 8192  # characters that are looked at for them

Tell: TypeAlias = Callable[[JSONMessage], Awaitable[None]]


@dataclass(slots=True)
class Step:
    """A step as it is told; times in ns since 1970, 0 = not yet."""

    number: int
    name: str
    started: int = 0
    completed: int = 0
    cached: bool = False
    error: str = ""
    output: str = ""

    def describe(self) -> dict[str, object]:
        """As a `vertex` message has it."""
        return {
            "id": self.number,
            "name": self.name,
            "started": self.started,
            "completed": self.completed,
            "cached": self.cached,
            "error": self.error,
        }


class Trace:
    """Tells of the steps of one build."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self._count = 0

    async def say(self, kind: str, content: dict[str, object]) -> None:
        """Pass one message on."""
        await self.tell(JSONMessage(id=TRACE, aux={kind: content}))

    def step(self, name: str) -> Step:
        """A new step, not begun."""
        self._count += 1
        return Step(self._count, name)

    async def begin(self, step: Step) -> None:
        """It begins now."""
        step.started = time.time_ns()
        await self.say("vertex", step.describe())

    async def end(self, step: Step, error: str = "") -> None:
        """It has ended."""
        step.completed, step.error = time.time_ns(), error
        step.started = step.started or step.completed
        await self.say("vertex", step.describe())

    async def done(self, name: str, *parts: str) -> None:
        """A step that has been done already, with its parts."""
        step = self.step(name)
        await self.begin(step)
        for part in parts:
            await self.say("status", {"vertex": step.number, "id": part, "done": True})
        await self.end(step)

    async def warn(self, findings: Sequence[Finding]) -> None:
        """What works but should be changed."""
        for finding in findings:
            content = {"rule": finding.rule.name, "detail": finding.detail, "line": finding.line}
            await self.say("warning", content)

    async def cache(self, destination: str, keys: Sequence[str]) -> None:
        """What a cache for the client's files consists of."""
        await self.tell(JSONMessage(id=CACHE, aux={"dest": destination, "keys": list(keys)}))

    async def failure(
        self,
        source: str,
        filename: str,
        line: int,
        end_line: int,
        name: str = "",
        log: Iterable[str] = (),
    ) -> None:
        """Show where in the Dockerfile a build has failed, and what the step has written last."""
        lines = excerpt(source, filename, line, end_line) if line else ""
        await self.say("failure", {"name": name, "log": list(log), "excerpt": lines})


class TracePrinter:
    """Drives one build to its end while telling of it. `converters`: by platform, "" = the only one."""

    def __init__(
        self,
        converters: Mapping[str, Converter],
        source: str,
        filename: str,
        trace: Trace,
        epoch_ns: int | None,
    ) -> None:
        self._converters = converters
        self._several = len(converters) > 1
        self.source = source
        self._filename = filename
        self._trace = trace
        self._epoch_ns = epoch_ns
        self._names: dict[Digest, tuple[str, Instruction]] = {}
        self._followers: list[tuple[Work, asyncio.Task[None]]] = []

    async def run(self, solve: Solve) -> Built:
        """Build for the only platform. `solve` is to call `on_work`."""
        [plan] = (await self.plans()).values()
        try:
            result = await solve.snapshot(plan.last.root)
        finally:
            await self.followed()
        image, layers = plan.last.image, result.layers
        if plan.base_id and len(plan.steps) == 1 and not plan.steps[0].triggers:
            diff_ids = tuple(layer.diff_id for layer in layers)
            return Built(id=Digest(plan.base_id), config=None, diff_ids=diff_ids)
        if not image.history and not layers:
            raise InvalidParameter("No image was generated. Is your Dockerfile empty?")
        return Built(
            id=image_id(image, layers, self._epoch_ns),
            config=document(image, layers, self._epoch_ns),
            diff_ids=tuple(layer.diff_id for layer in layers),
        )

    async def followed(self) -> None:
        """Wait until everything has been told of work that has ended: all, unless some has failed."""
        await asyncio.gather(*(follower for work, follower in self._followers if work.ended))

    def places(self) -> dict[Digest, tuple[int, int]]:
        """The lines, first and last, of the steps in the Dockerfile."""
        return {digest: (found.line, found.end_line) for digest, (_, found) in self._names.items()}

    async def plans(self) -> Mapping[str, StagePlan]:
        """Convert everything that the target needs; the target's stage by platform."""
        size = len(self.source.encode())
        await self._trace.done(
            f"[internal] load build definition from {self._filename}", f"transferring dockerfile: {size}B"
        )
        plans = await asyncio.gather(*map(self._target, self._converters.values()))
        return dict(zip(self._converters, plans, strict=True))

    async def scanned(self) -> Mapping[Digest, Mapping[str, Vertex]]:
        """See Materials; of what has been converted."""
        return {
            (await each.plan(each.target)).last.root.digest: await each.scanned()
            for each in self._converters.values()
        }

    async def _target(self, converter: Converter) -> StagePlan:
        for index in converter.live_stages():
            plan = await self._plan(converter, index)
            self._names.update(step_names(converter.dockerfile, plan, several=self._several))
        return await converter.plan(converter.target)

    async def _plan(self, converter: Converter, index: int) -> StagePlan:
        name = converter.image_name(index)
        if not name:
            return await self._checked(converter, index)
        platform = converter.platform_of(converter.dockerfile.stages[index]) if self._several else None
        step = self._trace.step(metadata_name(name, platform))
        await self._trace.begin(step)
        try:
            plan = await self._checked(converter, index)
        except Exception as error:
            await self._trace.end(step, str(error))
            raise
        await self._trace.end(step)
        return plan

    async def _checked(self, converter: Converter, index: int) -> StagePlan:
        """Raises the stage's mistake now: nothing is begun of what cannot be ended."""
        plan = await converter.plan(index)
        if plan.mistake is not None:
            raise plan.mistake.error
        return plan

    def on_work(self, work: Work, tasks: asyncio.TaskGroup) -> None:
        """Tell of a piece of work, if it is one that users know."""
        named = self._names.get(work.vertex.digest)
        if named is None and isinstance(work.vertex.op, LocalSource):
            label = "[internal] load build context" if work.vertex.name == "context" else work.vertex.name
            converter = next(iter(self._converters.values()))
            named = (label, converter.dockerfile.stages[0].base)
        if named is not None:
            self._followers.append((work, tasks.create_task(self._follow(work, *named))))

    async def _follow(self, work: Work, name: str, instruction: Instruction) -> None:
        step = self._trace.step(name)
        await self._trace.say("vertex", step.describe())
        async for event in work.events():
            if isinstance(event, Started):
                await self._trace.begin(step)
            elif isinstance(event, Cached):
                step.cached = True
            elif isinstance(event, Output):
                text = event.data.decode(errors="replace")
                step.output = (step.output + text)[-_OUTPUT_KEPT:]
                stream = 2 if event.stream == "stderr" else 1
                await self._trace.say("log", {"vertex": step.number, "stream": stream, "data": text})
        if not work.started:
            return  # what it needs has failed
        error = work.failure
        if error is not None:
            await self._trace.end(step, str(in_buildkits_words(error)))
            await self._trace.failure(
                self.source,
                self._filename,
                instruction.line,
                instruction.end_line,
                name,
                step.output.splitlines()[-_LOG_KEPT:],
            )
        else:
            await self._trace.end(step)


def in_buildkits_words(error: Exception) -> Exception:
    """A step's error as BuildKit puts it."""
    if isinstance(error, Unresolved):
        return InvalidParameter(error.buildkits)
    if isinstance(error, NotStarted):
        return InvalidParameter(error.buildkits)
    if not isinstance(error, CommandFailed):
        return error
    command = str(error).removeprefix("The command '").rpartition("' returned")[0]
    text = f"process {go_quote(command)} did not complete successfully: exit code: {error.code}"
    return StreamFailure(text, code=1)
