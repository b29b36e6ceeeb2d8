"""What a build tells its watchers: vertexes that begin and end, their output, warnings (Control.Status).

Everything told is kept while the build runs, so that a watcher who comes late sees it all, and then in the
history; output beyond 2 MiB of a step is cut off, as BuildKit does it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from corten.buildkit.proto.control_pb2 import (
    StatusResponse,
    VertexLog,
    VertexStatus,
    VertexWarning,
)
from corten.digest import digest_of
from corten.http2.waiters import Waiters

_LOG_BYTES = 2 << 20
_LEAST = 16  # bytes that a piece of output counts for: each is a message that is kept
_CLIPPED = b"\n[output clipped, log limit 2MiB reached]\n"
_BATCH = 64  # messages in one response
_PACE_S = 0.05  # between responses: each costs a client more than what is in it, and people read no faster
_STATUS_EVERY_NS = 100_000_000  # a large context comes in many pieces, and all that is told is kept

STDOUT, STDERR = 1, 2


def now() -> Timestamp:
    """The time, as messages have it."""
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns())
    return stamp


class _State(NamedTuple):
    """A vertex at one moment; times in ns since 1970, 0 = not yet. It becomes a message when it is sent."""

    digest: str
    name: str
    inputs: Sequence[str]
    started: int
    completed: int = 0
    cached: bool = False
    error: str = ""

    def add_to(self, response: StatusResponse) -> None:
        vertex = response.vertexes.add(
            digest=self.digest, name=self.name, inputs=self.inputs, cached=self.cached, error=self.error
        )
        if self.started:
            vertex.started.FromNanoseconds(self.started)
        if self.completed:
            vertex.completed.FromNanoseconds(self.completed)


class Step:
    """One vertex as its watchers see it."""

    def __init__(self, progress: Progress, digest: str, name: str, inputs: Sequence[str] = ()) -> None:
        self._progress = progress
        self.digest = digest
        self._state = _State(digest, name, inputs, 0)
        self._logged = 0
        self._statuses: dict[str, VertexStatus] = {}

    @property
    def started(self) -> bool:
        """Whether it has begun."""
        return self._state.started > 0

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._state.completed > 0

    @property
    def cached(self) -> bool:
        """Whether it has ended without work."""
        return self._state.cached

    def announce(self) -> None:
        """Say that it will be done."""
        self._progress.tell(self._state)

    def start(self) -> None:
        """It begins now."""
        if not self.started:
            self._become(self._state._replace(started=time.time_ns()))

    def finish(self, *, cached: bool = False, error: str = "") -> None:
        """It has ended."""
        if self.done:
            return
        stamp = time.time_ns()
        state = self._state._replace(started=self._state.started or stamp, completed=stamp)
        self._become(state._replace(cached=cached, error=error))

    def log(self, stream: int, data: bytes) -> None:
        """Output of the step."""
        if self._logged > _LOG_BYTES:
            return
        self._logged += max(len(data), _LEAST)
        if self._logged > _LOG_BYTES:
            data = _CLIPPED
        entry = VertexLog(vertex=self.digest, timestamp=now(), stream=stream, data=data)
        self._progress.tell(StatusResponse(logs=[entry]))

    def status(self, identifier: str, *, current: int = 0, total: int = 0, done: bool = False) -> None:
        """How far a part of the step is; `current` and `total` in bytes."""
        known = self._statuses.get(identifier)
        if (
            known is not None
            and not done
            and time.time_ns() < known.timestamp.ToNanoseconds() + _STATUS_EVERY_NS
        ):
            return
        if known is None:
            known = self._statuses[identifier] = VertexStatus(
                id=identifier, vertex=self.digest, started=now()
            )
        known.current, known.total = current, total
        known.timestamp.CopyFrom(now())
        if done:
            known.completed.CopyFrom(now())
        self._progress.tell(StatusResponse(statuses=[known]))

    @contextmanager
    def part(self, identifier: str) -> Iterator[None]:
        """A part of the step that is done, or fails, within the block."""
        self.status(identifier)
        yield
        self.status(identifier, done=True)

    def _become(self, state: _State) -> None:
        self._state = state
        self._progress.tell(state)


class Progress:
    """All that one build has told. Event loop's thread only."""

    def __init__(self) -> None:
        self._told: list[StatusResponse | _State] = []
        self._ended = asyncio.Event()
        self._changed = Waiters()
        self.steps: dict[str, Step] = {}

    def step(self, digest: str, name: str, inputs: Sequence[str] = ()) -> Step:
        """The step of this digest, announced if it is new."""
        step = self.steps.get(digest)
        if step is None:
            step = self.steps[digest] = Step(self, digest, name, inputs)
            step.announce()
        return step

    @contextmanager
    def internal(self, name: str) -> Iterator[Step]:
        """A step of our own, such as `[internal] load .dockerignore`, for the time of the block."""
        step = self.step(digest_of(f"{name} {secrets.token_hex(16)}".encode()), name)
        step.start()
        try:
            yield step
        except asyncio.CancelledError:
            step.finish(error="context canceled")
            raise
        except Exception as error:
            step.finish(error=str(error))
            raise
        step.finish()

    def counts(self) -> tuple[int, int, int]:
        """How many steps there are, have ended, and were cached."""
        steps = self.steps.values()
        return len(steps), sum(step.done for step in steps), sum(step.cached for step in steps)

    def warn(self, warning: VertexWarning) -> None:
        """A warning, from a linter say."""
        self.tell(StatusResponse(warnings=[warning]))

    def tell(self, told: StatusResponse | _State) -> None:
        """Keep it for the watchers and wake them. It is ours: messages copy what goes into their lists."""
        self._told.append(told)
        self._changed.wake()

    def end(self) -> None:
        """Nothing more will be told. Steps that are still open were cancelled."""
        for step in self.steps.values():
            if not step.done and step.started:
                step.finish(error="context canceled")
        self._ended.set()
        self._changed.wake()

    def told(self) -> Iterator[StatusResponse]:
        """All that has been told until now, several messages in one."""
        return map(self._batch, range(0, len(self._told), _BATCH))

    def _batch(self, position: int) -> StatusResponse:
        response = StatusResponse()
        states: dict[str, _State] = {}
        for told in self._told[position : position + _BATCH]:
            if isinstance(told, _State):
                states[told.digest] = told  # what comes later says it all again
            else:
                response.MergeFrom(told)
        for state in states.values():
            state.add_to(response)
        return response

    async def watch(self) -> AsyncIterator[StatusResponse]:
        """Everything from the beginning on, until the end; what comes in quick succession at once."""
        position = 0
        while True:
            while position < len(self._told):
                response = self._batch(position)
                position = min(position + _BATCH, len(self._told))
                yield response
            if self._ended.is_set():
                return
            await self._changed.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PACE_S):
                    await self._ended.wait()
