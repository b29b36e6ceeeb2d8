"""The work of one vertex in one build, as those see it who wait for it and print it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

from corten.builder.graph import Vertex
from corten.builder.owned import Owned
from corten.builder.results import Result

_AHEAD_BYTES = 2 << 20  # output kept of work that nobody looks at yet; BuildKit's limit too
_BEHIND_BYTES = 256 << 10  # how far a reader may lag before the command has to wait


@dataclass(frozen=True, slots=True)
class Started:
    """All inputs are there and the work begins."""


@dataclass(frozen=True, slots=True)
class Cached:
    """The result was there already."""


@dataclass(frozen=True, slots=True)
class Running:
    """A command has been started; `id` is its container's."""

    id: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a command has written. `stream`: stdout or stderr."""

    stream: str
    data: bytes


Event: TypeAlias = Started | Cached | Running | Output


class Work:
    """Events and result. Events are kept until `events` is iterated, by one reader.

    Without a reader, output beyond 2 MiB is cut off; with one that is slow, the command waits.
    """

    def __init__(self, vertex: Vertex) -> None:
        self.vertex = vertex
        self.cached = False
        self.started = False
        self._task: Owned[Result] | None = None
        self._known: Result | None = None
        self._events: deque[Event] = deque()
        self._buffered = 0
        self._clipped = False
        self._has_reader = False
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()

    def begin(self, task: Owned[Result]) -> None:
        """The task that does the work; its end ends the events."""
        self._task = task
        task.when_done(self._changed.set)

    def end(self, known: Result) -> None:
        """It has come to its result at once, without a task."""
        self._known = known
        self._changed.set()

    async def result(self) -> Result:
        """The result; raises what the work raised."""
        if self._known is not None:
            return self._known
        assert self._task is not None
        return await self._task.wait()

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, however."""
        return self._known is not None or (self._task is not None and self._task.done)

    @property
    def failure(self) -> Exception | None:
        """What the work itself, not that of an input, has raised."""
        return self._task.failure if self.started and self._task is not None else None

    @property
    def finished(self) -> Result | None:
        """The result, if it is there."""
        return self._task.value if self._task is not None else self._known

    def tell(self, event: Started | Cached | Running) -> None:
        """Add an event that is no output."""
        self.started = self.started or isinstance(event, Started)
        self.cached = self.cached or isinstance(event, Cached)
        self._events.append(event)
        self._changed.set()

    async def output(self, stream: str, data: bytes) -> None:
        """Add output; waits while a reader is behind."""
        if not self._has_reader and self._buffered + len(data) > _AHEAD_BYTES:
            if self._clipped:
                return
            self._clipped = True
            data = b"\n[output clipped, log limit 2MiB reached]\n"
        self._events.append(Output(stream, data))
        self._buffered += len(data)
        self._changed.set()
        while self._has_reader and self._buffered > _BEHIND_BYTES:
            self._taken.clear()
            await self._taken.wait()

    async def events(self) -> AsyncIterator[Event]:
        """All events from the first on, until the work has ended."""
        self._has_reader = True
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, Output):
                    self._buffered -= len(event.data)
                    self._taken.set()
                yield event
            if self.ended:
                return
            self._changed.clear()
            await self._changed.wait()
