"""What happened: a short memory and whoever listens.

Source: Engine API 1.51, GET /events; attributes as dockerd 26.1 sets them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping

from corten.filters import Filters
from corten.types.events import Actor, Message
from corten.types.operations import EventsOptions

# dockerd keeps 256; a busy build host passes that in a second, and a message is small.
_REMEMBERED = 1024
# A listener that is this far behind is not reading: it is cut off rather than kept in memory.
_LISTENER_LIMIT = 8192

_FILTERS = frozenset(
    {
        *("config", "container", "daemon", "event", "image", "label", "network", "node", "plugin"),
        *("scope", "secret", "service", "type", "volume"),
    }
)
_BY_ACTOR = ("container", "daemon", "network", "plugin", "volume", "service", "node", "secret", "config")


class EventBus:
    """Publish is a few microseconds when nobody listens; order is the order of publishing."""

    def __init__(self) -> None:
        self._past: deque[Message] = deque(maxlen=_REMEMBERED)
        self._listeners: set[_Listener] = set()
        self._last_ns = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        """How many of each kind and action there were."""

    @property
    def listeners(self) -> int:
        """How many are listening."""
        return len(self._listeners)

    def publish(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        """Tell everybody. kind: container, image, network, volume, daemon, builder."""
        self.counts[kind, action.partition(":")[0]] += 1
        # Two events never carry the same time, so that since/until can separate them.
        now = self._last_ns = max(time.time_ns(), self._last_ns + 1)
        message = Message(
            type=kind,
            action=action,
            actor=Actor(id=actor_id, attributes=dict(attributes)),
            scope="local",
            time=now // 1_000_000_000,
            time_nano=now,
        )
        if kind == "container":
            message.status, message.id, message.from_ = action, actor_id, attributes.get("image", "")
        elif kind == "image":
            message.status, message.id = action, actor_id
        self._past.append(message)
        for listener in tuple(self._listeners):
            listener.put(message)

    async def subscribe(self, options: EventsOptions) -> AsyncIterator[Message]:
        """Register at once; the iterator gives the past of the period first. Raises InvalidFilter."""
        options.filters.validate(_FILTERS)
        past = [m for m in self._past if options.since_ns is not None and m.time_nano >= options.since_ns]
        listener = _Listener(self._listeners, past, options)
        if options.until_ns is not None and options.until_ns <= time.time_ns():
            listener.end()
        else:
            self._listeners.add(listener)
        return listener

    def close(self) -> None:
        """End all streams."""
        for listener in tuple(self._listeners):
            listener.end()


class _Listener(AsyncIterator[Message]):
    """A bounded queue; None marks the end. A class, because a generator never started is never finished."""

    def __init__(self, registry: set[_Listener], past: list[Message], options: EventsOptions) -> None:
        self._registry = registry
        self._queue: deque[Message | None] = deque(past)
        self._filled = asyncio.Event()
        self._options = options

    def put(self, message: Message) -> None:
        """Queue a message, or end the stream if nobody takes them."""
        if len(self._queue) < _LISTENER_LIMIT:
            self._queue.append(message)
            self._filled.set()
        else:
            self._registry.discard(self)
            self.end()

    def end(self) -> None:
        """Nothing follows what is queued now."""
        self._queue.append(None)
        self._filled.set()

    async def __anext__(self) -> Message:
        until = self._options.until_ns
        while True:
            try:
                async with asyncio.timeout(None if until is None else max(0.0, until / 1e9 - time.time())):
                    message = await self._get()
            except TimeoutError:
                message = None
            if message is None or (until is not None and message.time_nano > until):
                await self.aclose()
                raise StopAsyncIteration
            if matches(message, self._options.filters):
                return message

    async def _get(self) -> Message | None:
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        return self._queue.popleft()

    async def aclose(self) -> None:
        """End the subscription."""
        self._registry.discard(self)
        self._queue.clear()
        self._queue.append(None)


def matches(message: Message, filters: Filters) -> bool:
    """Whether an event passes all filters."""
    if not filters:
        return True
    attributes = message.actor.attributes
    return (
        _matches_event(message, filters)
        and filters.exact("type", message.type)
        and filters.exact("scope", message.scope)
        and filters.match_labels("label", attributes)
        and all(_matches_actor(message, filters, kind) for kind in _BY_ACTOR)
        and _matches_image(message, filters)
    )


def _matches_event(message: Message, filters: Filters) -> bool:
    """`event=health_status` also matches "health_status: healthy", and exec_* likewise."""
    return filters.exact("event", message.action) or filters.exact("event", message.action.partition(":")[0])


def _matches_actor(message: Message, filters: Filters, kind: str) -> bool:
    values = filters.values_of(kind)
    if not values:
        return True
    if message.type != kind:
        return kind == "container" and message.actor.attributes.get("container", "") in values
    name = message.actor.attributes.get("name", "")
    return any(value == name or message.actor.id.startswith(value) for value in values)


def _matches_image(message: Message, filters: Filters) -> bool:
    values = filters.values_of("image")
    if not values:
        return True
    if message.type == "image":
        known = {message.actor.id, message.actor.attributes.get("name", "")}
    else:
        known = {message.actor.attributes.get("image", "")}
    known |= {_without_tag(name) for name in known}
    return any(value in known for value in values)


def _without_tag(name: str) -> str:
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]
