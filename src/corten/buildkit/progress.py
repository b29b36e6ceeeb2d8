"""What a build tells its watchers: vertexes that begin and end, their output, warnings (Control.Status).

Everything told is kept while the build runs, so that a watcher who comes late sees it all, and then in the
history; output beyond 2 MiB of a step is cut off, as BuildKit does it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from corten.buildkit.proto.control_pb2 import StatusResponse, VertexLog, VertexWarning
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
    _set(stamp, time.time_ns())
    return stamp


def _set(stamp: Timestamp, time_ns: int) -> None:
    """As its `FromNanoseconds`, which checks what needs no check, in Python."""
    stamp.seconds, stamp.nanos = divmod(time_ns, 1_000_000_000)


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
        """Tell it."""
        vertex = response.vertexes.add(
            digest=self.digest, name=self.name, inputs=self.inputs, cached=self.cached, error=self.error
        )
        if self.started:
            _set(vertex.started, self.started)
        if self.completed:
            _set(vertex.completed, self.completed)


class _Part(NamedTuple):
    """A part of a step at the moment `at`; as `_State`."""

    digest: str
    name: str
    current: int
    total: int
    started: int
    at: int
    completed: int

    def add_to(self, response: StatusResponse) -> None:
        """Tell it."""
        status = response.statuses.add(
            id=self.name, vertex=self.digest, current=self.current, total=self.total
        )
        _set(status.started, self.started)
        _set(status.timestamp, self.at)
        if self.completed:
            _set(status.completed, self.completed)


class _Told:
    """All that has been told, and who waits for more. A build's steps have this in common, not each other."""

    def __init__(self) -> None:
        self.entries: list[StatusResponse | _State | _Part] = []
        self.changed = Waiters()

    def tell(self, told: StatusResponse | _State | _Part) -> None:
        """Keep it for the watchers and wake them."""
        self.entries.append(told)
        self.changed.wake()


class Step:
    """One vertex as its watchers see it."""

    def __init__(self, told: _Told, digest: str, name: str, inputs: Sequence[str] = ()) -> None:
        self._told = told
        self.digest = digest
        self._state = _State(digest, name, inputs, 0)
        self._logged = 0
        self._parts: dict[str, _Part] = {}

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
        self._told.tell(self._state)

    def start(self) -> None:
        """It begins now."""
        if not self.started:
            self._become(self._state._replace(started=time.time_ns()))

    def finish(self, *, cached: bool = False, error: str = "") -> None:
        """It has ended."""
        if self.done:
            return
        now_ns, (digest, name, inputs, started, *_) = time.time_ns(), self._state
        self._become(_State(digest, name, inputs, started or now_ns, now_ns, cached, error))

    def log(self, stream: int, data: bytes) -> None:
        """Output of the step."""
        if self._logged > _LOG_BYTES:
            return
        self._logged += max(len(data), _LEAST)
        if self._logged > _LOG_BYTES:
            data = _CLIPPED
        entry = VertexLog(vertex=self.digest, timestamp=now(), stream=stream, data=data)
        self._told.tell(StatusResponse(logs=[entry]))

    def status(self, identifier: str, *, current: int = 0, total: int = 0, done: bool = False) -> None:
        """How far a part of the step is; `current` and `total` in bytes."""
        now_ns = time.time_ns()
        known = self._parts.get(identifier)
        if known is not None and not done and now_ns < known.at + _STATUS_EVERY_NS:
            return
        started = now_ns if known is None else known.started
        part = _Part(self.digest, identifier, current, total, started, now_ns, now_ns if done else 0)
        self._parts[identifier] = part
        self._told.tell(part)

    @contextmanager
    def part(self, identifier: str) -> Iterator[None]:
        """A part of the step that is done, or fails, within the block."""
        self.status(identifier)
        yield
        self.status(identifier, done=True)

    def _become(self, state: _State) -> None:
        self._state = state
        self._told.tell(state)


class Progress:
    """All that one build has told. Event loop's thread only."""

    def __init__(self) -> None:
        self._told = _Told()
        self._ended = False
        self._ending = Waiters()
        self.steps: dict[str, Step] = {}
        self.warnings = 0

    @cached_property
    def _salt(self) -> str:
        """Makes our own steps other than those of other builds."""
        return secrets.token_hex(16)

    def step(self, digest: str, name: str, inputs: Sequence[str] = ()) -> Step:
        """The step of this digest, announced if it is new."""
        step = self.steps.get(digest)
        if step is None:
            step = self.steps[digest] = Step(self._told, digest, name, inputs)
            step.announce()
        return step

    @contextmanager
    def internal(self, name: str) -> Iterator[Step]:
        """A step of our own, such as `[internal] load .dockerignore`, for the time of the block."""
        step = self.step(digest_of(f"{name} {self._salt} {len(self.steps)}".encode()), name)
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
        self.warnings += 1
        self._told.tell(StatusResponse(warnings=[warning]))

    def end(self) -> None:
        """Nothing more will be told. Steps that are still open were cancelled."""
        for step in self.steps.values():
            if not step.done and step.started:
                step.finish(error="context canceled")
        self._ended = True
        self._ending.wake()
        self._told.changed.wake()

    def told(self) -> Iterator[StatusResponse]:
        """All that has been told until now, several messages in one."""
        return map(self._batch, range(0, len(self._told.entries), _BATCH))

    def _batch(self, position: int) -> StatusResponse:
        response = StatusResponse()
        states: dict[str, _State] = {}
        parts: dict[tuple[str, str], _Part] = {}
        for told in self._told.entries[position : position + _BATCH]:
            if isinstance(told, _State):
                states[told.digest] = told  # what comes later says it all again
            elif isinstance(told, _Part):
                parts[told.digest, told.name] = told
            else:
                response.MergeFrom(told)
        for state in states.values():
            state.add_to(response)
        for part in parts.values():
            part.add_to(response)
        return response

    async def watch(self) -> AsyncIterator[StatusResponse]:
        """Everything from the beginning on, until the end; what comes in quick succession at once."""
        position = 0
        while True:
            while position < len(self._told.entries):
                response = self._batch(position)
                position = min(position + _BATCH, len(self._told.entries))
                yield response
            if self._ended:
                return
            await self._told.changed.wait()
            if not self._ended:
                await self._ending.wait(_PACE_S)
