"""The stream of POST /build, as Docker's classic builder prints it.

The solver works on all stages at once; this prints the instructions in the order of the file, each with
the id that the image would have after it. Texts: moby's builder/dockerfile (dispatchers, evaluator).
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from corten.builder.cache import BuildCache
from corten.builder.convert import Converter, StagePlan, Step
from corten.builder.credentials import redacted
from corten.builder.dockerfile.instructions import Instruction, Workdir
from corten.builder.image import Layer, document, image_id
from corten.builder.owned import Owned
from corten.builder.results import Snapshot
from corten.builder.solver import Solve
from corten.builder.work import Cached, Output, Running
from corten.digest import Digest
from corten.errors import InvalidParameter
from corten.ids import new_id
from corten.ids import short_id as short_container
from corten.types.progress import JSONMessage

Emit: TypeAlias = Callable[[JSONMessage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build has come to. `config` is None if the image is one that was there already."""

    id: Digest
    config: bytes | None
    diff_ids: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Printing:
    """How to print: `rm`: intermediate containers are told to be removed; `force_rm`: failed ones too."""

    rm: bool = True
    force_rm: bool = False
    no_cache: bool = False
    epoch_ns: int | None = None


class ClassicPrinter:
    """Drives one build to its end while printing it. `pulls[i]` has the progress of stage i's FROM."""

    def __init__(
        self,
        converter: Converter,
        solve: Solve,
        cache: BuildCache,
        tasks: asyncio.TaskGroup,
        emit: Emit,
        pulls: dict[int, asyncio.Queue[JSONMessage | None]],
        printing: Printing,
    ) -> None:
        self._converter = converter
        self._solve = solve
        self._cache = cache
        self._tasks = tasks
        self._emit = emit
        self._pulls = pulls
        self._printing = printing
        self._number = 0
        self._total = 0
        self._busted = False

    async def run(self) -> Built:
        """Print everything; raises what the failing instruction raised."""
        live = self._converter.live_stages()
        dockerfile = self._converter.dockerfile
        instructions = sum(len(self._converter.instructions(dockerfile.stages[index])) for index in live)
        self._total = len(dockerfile.meta_args) + len(live) + instructions
        await self._warn_of_empty_continuations()
        plans = {index: Owned(self._tasks, self._begun(index)) for index in live}
        for meta_arg in dockerfile.meta_args:
            await self._header(meta_arg)
        for index in live:
            built = await self._stage(index, plans[index])
            if index == self._converter.target:
                return built
        raise AssertionError("the target is always live")

    async def _warn_of_empty_continuations(self) -> None:
        dockerfile = self._converter.dockerfile
        ends = {warning.line for warning in dockerfile.warnings}
        found = [each.text for each in dockerfile.instructions() if each.end_line in ends]
        lines = [f"Empty continuation line found in: {text}" for text in found]
        if lines:
            lines.append("Empty continuation lines will become errors in a future release.")
        for line in lines:
            await self._print(f"\x1b[91m[WARNING]: {line}\n\x1b[0m")

    async def _begun(self, index: int) -> StagePlan:
        """Convert a stage and set its work going."""
        try:
            plan = await self._converter.plan(index)
        finally:
            self._pulls[index].put_nowait(None)
        for step in plan.steps:
            for each in (*step.triggers, step):
                if each.vertex is not None:
                    self._solve.work(each.vertex)
        return plan

    async def _stage(self, index: int, planned: Owned[StagePlan]) -> Built:
        self._busted = self._printing.no_cache
        await self._header(self._converter.dockerfile.stages[index].base)
        while (message := await self._pulls[index].get()) is not None:
            await self._emit(message)
        plan = await planned.wait()
        built = await self._from(plan)
        for step in plan.steps[1:]:
            await self._header(step.instruction)
            built = await self._step(step)
            await self._arrow(_short(built.id))
        if plan.mistake is not None:
            await self._header(plan.mistake.instruction)
            raise plan.mistake.error
        if built.id:
            await self._emit(JSONMessage(aux={"ID": built.id}))
        elif index == self._converter.target:
            raise InvalidParameter("No image was generated. Is your Dockerfile empty?")
        return built

    async def _from(self, plan: StagePlan) -> Built:
        step = plan.steps[0]
        layers = await self._layers(step)
        built = Built(id=Digest(plan.base_id), config=None, diff_ids=tuple(each.diff_id for each in layers))
        if not plan.base_id and step.image.history:
            built = self._built(step, layers)
        if step.triggers:
            plural = "s" if len(step.triggers) > 1 else ""
            await self._print(f"# Executing {len(step.triggers)} build trigger{plural}\n")
        for trigger in step.triggers:
            built = await self._step(trigger)
        await self._arrow(_short(built.id))
        return built

    async def _step(self, step: Step) -> Built:
        """What stands between the step's header and its id."""
        if step.vertex is None:
            built = self._built(step, await self._layers(step))
            seen = self._cache.seen(built.id)
            await self._told_cached() if seen and not self._busted else await self._pretended()
            return built
        work = self._solve.work(step.vertex)
        container = ""
        decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        async for event in work.events():
            if isinstance(event, Cached):
                await self._told_cached()
            elif isinstance(event, Running):
                container = short_container(event.id)
                await self._arrow(f"Running in {container}")
            elif isinstance(event, Output):
                await self._output(event, decoders[event.stream])
        try:
            built = self._built(step, await self._layers(step))
        except Exception:
            if container and self._printing.force_rm:
                await self._arrow(f"Removed intermediate container {container}")
            raise
        if not work.cached:
            self._busted = True
            if isinstance(step.instruction, Workdir):
                await self._pretended()
        if container and self._printing.rm:
            await self._arrow(f"Removed intermediate container {container}")
        self._cache.seen(built.id)
        return built

    async def _layers(self, step: Step) -> tuple[Layer, ...]:
        result = await self._solve.work(step.root).result()
        assert isinstance(result, Snapshot)
        return result.layers

    def _built(self, step: Step, layers: tuple[Layer, ...]) -> Built:
        epoch_ns = self._printing.epoch_ns
        return Built(
            id=image_id(step.image, layers, epoch_ns),
            config=document(step.image, layers, epoch_ns),
            diff_ids=tuple(layer.diff_id for layer in layers),
        )

    async def _told_cached(self) -> None:
        await self._arrow("Using cache")

    async def _pretended(self) -> None:
        """Docker makes a container even for what runs nothing, and its users know the lines."""
        self._busted = True
        container = short_container(new_id())
        await self._arrow(f"Running in {container}")
        if self._printing.rm:
            await self._arrow(f"Removed intermediate container {container}")

    async def _output(self, output: Output, decoder: codecs.IncrementalDecoder) -> None:
        text = decoder.decode(output.data)
        if text:
            await self._print(f"\x1b[91m{text}\x1b[0m" if output.stream == "stderr" else text)

    async def _header(self, instruction: Instruction) -> None:
        self._number += 1
        await self._print(f"Step {self._number}/{self._total} : {redacted(instruction.text)}")
        await self._print("\n")

    async def _arrow(self, text: str) -> None:
        await self._print(f" ---> {text}\n")

    async def _print(self, text: str) -> None:
        await self._emit(JSONMessage(stream=text))


def _short(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:12]
