import asyncio
import time

import pytest
from lifecycles import create, started, state

from corten.types.container import RestartPolicy
from corten.types.operations import WaitCondition

ALWAYS = {"restart_policy": RestartPolicy(name="always")}


async def until(world, status, ref="web"):
    while (found := await state(world, ref)).status != status:
        await asyncio.sleep(0.001)
    return found


async def count(world, ref="web"):
    return (await world.containers.inspect(ref, size=False)).restart_count


def backoff(world):
    return world.context.store.get("web").state.backoff_s


def test_the_pause_doubles_and_is_forgotten_after_ten_seconds(world):
    async def main():
        identifier = await started(world, host=ALWAYS)
        for expected in (0.1, 0.2):
            world.runtime.finish(identifier, 1)
            assert backoff(world) == pytest.approx(expected)
            await until(world, "running")
        world.context.store.get("web").state.started_ns = time.time_ns() - 10_000_000_000
        world.runtime.finish(identifier, 1)
        assert backoff(world) == pytest.approx(0.1)
        assert await count(world) == 3
        world.context.store.get("web").state.backoff_s = 50.0
        await until(world, "running")
        world.runtime.finish(identifier, 1)
        assert backoff(world) == 60.0
        await world.containers.stop("web", timeout_s=None, signal="")
        assert (await state(world)).status == "exited"

    asyncio.run(main())


def test_starting_by_hand_counts_from_the_beginning(world):
    async def main():
        identifier = await started(world, host=ALWAYS)
        world.runtime.finish(identifier, 1)
        await world.containers.start("web")
        assert ((await state(world)).status, await count(world), backoff(world)) == ("running", 0, 0)

    asyncio.run(main())


def test_a_back_off_goes_on_after_an_engine_crash(world):
    async def main():
        policy = RestartPolicy(name="on-failure", maximum_retry_count=2)
        identifier = await started(world, host={"restart_policy": policy})
        world.runtime.finish(identifier, 1)
        again = await world.restarted()
        assert ((await state(again)).status, await count(again)) == ("restarting", 1)
        await until(again, "running")
        again.runtime.finish(identifier, 1)
        assert backoff(again) == pytest.approx(0.2)
        once_more = await again.restarted()
        await until(once_more, "running")
        once_more.runtime.finish(identifier, 1)
        assert ((await state(once_more)).status, await count(once_more)) == ("exited", 2)

    asyncio.run(main())


def test_who_waits_is_told_of_every_end(world):
    async def main():
        identifier = await started(world, host=ALWAYS)
        waiting = await world.containers.wait("web", WaitCondition.NEXT_EXIT)
        world.runtime.finish(identifier, 7)
        assert (await waiting).status_code == 7
        await world.containers.stop("web", timeout_s=None, signal="")

    asyncio.run(main())


@pytest.mark.parametrize(("stop_signal", "signal", "ends"), [("", "HUP", True), ("TERM", "HUP", False)])
def test_a_signal_during_the_back_off(world, stop_signal, signal, ends):
    async def main():
        identifier = await started(world, host=ALWAYS, stop_signal=stop_signal)
        world.runtime.finish(identifier, 1)
        await world.containers.kill("web", signal)
        assert (await state(world)).status == ("exited" if ends else "restarting")
        await world.containers.remove("web", force=True, volumes=False, link=False)

    asyncio.run(main())


def test_restarting_one_that_is_to_be_removed_keeps_it(world):
    async def main():
        identifier = await started(world, host={"auto_remove": True})
        await world.containers.restart("web", timeout_s=None, signal="")
        assert (await state(world)).status == "running"
        world.runtime.finish(identifier, 0)
        await world.settle()
        assert world.context.store.find(identifier) is None

    asyncio.run(main())


def test_who_shares_a_network_starts_after_its_owner(world):
    async def main():
        await started(world, "owner", host=ALWAYS)
        sharing = {**ALWAYS, "pid_mode": "container:owner"}
        await create(world, "guest", host=sharing)
        guest = world.context.store.get("guest")
        guest.state.started_ns = 1
        world.context.store.save_state(guest)
        await world.containers.stop("owner", timeout_s=None, signal="")
        again = await world.restarted()
        await until(again, "running", "owner")
        await until(again, "running", "guest")
        owner, guest = (again.context.store.get(name).id for name in ("owner", "guest"))
        order = list(again.runtime.requests)
        assert order.index(owner) < order.index(guest)

    asyncio.run(main())
