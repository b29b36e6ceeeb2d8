"""`logs` of a container that has just been started."""

import asyncio

from lifecycles import started, state

from corten.engine.containers import attach
from corten.types.operations import LogsOptions


def test_a_short_command_may_end_first(world, monkeypatch):
    monkeypatch.setattr(attach, "_SHORT_S", 1000.0)

    async def main():
        await started(world)
        asking = asyncio.ensure_future(world.containers.logs("web", LogsOptions(stdout=True)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not asking.done()
        await world.containers.kill("web", "KILL")
        await (await asking).chunks.aclose()
        return (await state(world)).status

    assert asyncio.run(main()) == "exited"


def test_who_follows_does_not_wait(world, monkeypatch):
    monkeypatch.setattr(attach, "_SHORT_S", 1000.0)

    async def main():
        await started(world)
        stream = await asyncio.wait_for(
            world.containers.logs("web", LogsOptions(stdout=True, follow=True)), 20
        )
        await stream.chunks.aclose()

    asyncio.run(main())
