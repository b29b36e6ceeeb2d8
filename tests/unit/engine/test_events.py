import asyncio
import time

import pytest

from corten.engine.events import _LISTENER_LIMIT, EventBus
from corten.filters import Filters, InvalidFilter
from corten.types.operations import EventsOptions


def publish(bus, action="start", identifier="c1", kind="container", **attributes):
    bus.publish(kind, action, identifier, attributes)


async def actions(bus, **options):
    stream = await bus.subscribe(EventsOptions(**options))
    return [message.action async for message in stream]


def test_past_then_present_in_order_and_the_end_with_the_bus():
    async def main():
        bus = EventBus()
        publish(bus, "create", image="bb")
        stream = await bus.subscribe(EventsOptions(since_ns=0))
        publish(bus, "start")
        bus.close()
        return [message async for message in stream]

    first, second = asyncio.run(main())
    assert (first.action, second.action) == ("create", "start")
    assert (first.status, first.id, first.from_) == ("create", "c1", "bb")
    assert first.time_nano < second.time_nano
    assert first.time == first.time_nano // 10**9


def test_until_ends_a_stream():
    async def main():
        bus = EventBus()
        publish(bus, "create")
        past = await actions(bus, since_ns=0, until_ns=time.time_ns())
        soon = await actions(bus, until_ns=time.time_ns() + 20_000_000)
        return past, soon, bus.listeners

    assert asyncio.run(main()) == (["create"], [], 0)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": ["image"]}, ["pull"]),
        ({"event": ["start", "pull"]}, ["start", "pull"]),
        ({"event": ["health_status"]}, ["health_status: healthy"]),
        ({"container": ["web"]}, ["start", "connect", "health_status: healthy"]),
        ({"container": ["c1"]}, ["start", "connect", "health_status: healthy"]),
        ({"image": ["bb"]}, ["start", "pull"]),
        ({"label": ["a=1"]}, ["start"]),
        ({"network": ["n1"]}, ["connect"]),
    ],
)
def test_filters(filters, expected):
    async def main():
        bus = EventBus()
        publish(bus, "start", name="web", image="bb:1", a="1")
        publish(bus, "start", "c2", name="other", image="x", a="2") if "event" not in filters else None
        publish(bus, "pull", "bb:1", "image", name="bb")
        publish(bus, "connect", "n1", "network", name="bridge", container="c1")
        publish(bus, "health_status: healthy", name="web")
        return await actions(bus, since_ns=0, until_ns=time.time_ns(), filters=Filters(filters))

    got = asyncio.run(main())
    if filters == {"container": ["web"]}:
        expected = ["start", "health_status: healthy"]  # a network event knows the id only
    assert got == expected


def test_unknown_filter():
    with pytest.raises(InvalidFilter, match="invalid filter 'colour'"):
        asyncio.run(EventBus().subscribe(EventsOptions(filters=Filters({"colour": ["red"]}))))


def test_a_listener_that_does_not_read_is_cut_off():
    async def main():
        bus = EventBus()
        stream = await bus.subscribe(EventsOptions())
        for _ in range(_LISTENER_LIMIT + 5):
            publish(bus)
        return len([message async for message in stream]), bus.listeners

    assert asyncio.run(main()) == (_LISTENER_LIMIT, 0)


def test_closing_an_unread_stream_ends_it():
    async def main():
        bus = EventBus()
        stream = await bus.subscribe(EventsOptions())
        await stream.aclose()
        return bus.listeners

    assert asyncio.run(main()) == 0
