"""The work of one build as its client sees it: steps with output, and errors with the place of their step."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import TypeVar

from corten.builder import graph
from corten.builder.goquote import go_quote
from corten.builder.graph import SCRATCH, Exec, GitSource, HttpSource, Vertex
from corten.builder.ops.run import CommandFailed, NotStarted
from corten.builder.work import Output, Started, Work
from corten.buildkit.failures import BuildFailed
from corten.buildkit.progress import STDERR, STDOUT, Progress, Step
from corten.buildkit.workbench import StepTexts

T = TypeVar("T")

_MISSING = re.compile(r"failed: file not found in build context .*: stat (.+): file does not exist$")
_PREFIX = re.compile(r"^(COPY|ADD|WORKDIR) failed: ")


class Steps:
    """The steps of one build."""

    def __init__(self, progress: Progress, texts: StepTexts) -> None:
        self._progress = progress
        self._texts = texts
        self._works: list[Work] = []

    def follow(self, tasks: asyncio.TaskGroup, work: Work) -> None:
        """Tell of a piece of work from now to its end: in a task of its own, if it has not ended yet."""
        vertex = work.vertex
        if vertex == SCRATCH or isinstance(vertex.op, graph.Output):
            return  # nothing is done for them
        self._works.append(work)
        name = self._texts.names.get(vertex.digest) or vertex.name
        inputs = [each.digest for each in vertex.inputs if each != SCRATCH]
        step = self._progress.step(vertex.digest, name, inputs)
        if work.finished is not None:
            step.finish(cached=work.cached)
        else:
            tasks.create_task(_told(work, step))

    async def outcome(self, work: Awaitable[T]) -> T:
        """What the work gives. Raises BuildFailed, which says which step has failed."""
        try:
            return await work
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        """The error with its place and step, if it is that of a step."""
        if isinstance(error, BuildFailed):
            return error
        work = next((each for each in self._works if each.failure is error), None)
        if work is None:
            return error
        vertex = work.vertex
        return BuildFailed(
            error,
            message=_message(vertex, error),
            place=self._texts.places.get(vertex.digest),
            vertex=vertex.digest,
            exit_code=error.code if isinstance(error, CommandFailed) else 0,
        )

    def vertex(self, digest: str) -> Vertex | None:
        """The step of this name."""
        return next((each.vertex for each in self._works if each.vertex.digest == digest), None)

    def clear(self) -> None:
        """Forget the work, with all that it holds."""
        self._works.clear()


async def _told(work: Work, step: Step) -> None:
    async for event in work.events():
        if isinstance(event, Started):
            step.start()
        elif isinstance(event, Output):
            step.log(STDERR if event.stream == "stderr" else STDOUT, event.data)
    try:
        await work.result()
    except Exception as error:
        if work.started:
            step.finish(error=_message(work.vertex, error))
    else:
        step.finish(cached=work.cached)


def _message(vertex: Vertex, error: Exception) -> str:
    if isinstance(error, CommandFailed) and isinstance(vertex.op, Exec):
        command = " ".join(vertex.op.args)
        return f"process {go_quote(command)} did not complete successfully: exit code: {error.code}"
    if isinstance(error, NotStarted):
        return error.buildkits
    missing = _MISSING.search(str(error))
    if missing is not None:
        name = missing.group(1).lstrip("/")
        checksum = f"failed to calculate checksum of ref {vertex.inputs[-1].digest}"
        return f'failed to compute cache key: {checksum}: "/{name}": not found'
    text = _PREFIX.sub("", str(error))
    return f"failed to load cache key: {text}" if isinstance(vertex.op, HttpSource | GitSource) else text
