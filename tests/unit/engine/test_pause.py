import asyncio

import pytest
from lifecycles import started, state

from corten.errors import Conflict, InternalError
from corten.types.exec import ExecConfig


def test_a_paused_container_is_stopped_all_the_same(world):
    async def main():
        await started(world)
        await world.containers.pause("web")
        paused = await state(world)
        assert (paused.status, paused.running, paused.paused) == ("paused", True, True)
        await world.containers.stop("web", timeout_s=None, signal="")
        ended = await state(world)
        assert (ended.status, ended.exit_code, ended.paused) == ("exited", 143, False)

    asyncio.run(main())
    assert world.events() == ["create", "start", "pause", "kill", "unpause", "die", "stop"]


def test_other_signals_wait_until_it_runs_again(world):
    async def main():
        await started(world, stop_signal="TERM")
        await world.containers.pause("web")
        await world.containers.kill("web", "HUP")
        assert (await state(world)).paused
        await world.containers.unpause("web")
        assert (await state(world)).status == "running"

    asyncio.run(main())


def test_what_a_paused_container_refuses(world):
    async def main():
        identifier = await started(world)
        await world.containers.pause("web")
        with pytest.raises(Conflict, match=f"Container {identifier} is already paused"):
            await world.containers.pause("web")
        with pytest.raises(Conflict, match="Container web is paused, unpause the container before exec"):
            await world.containers.execs.create("web", ExecConfig(cmd=["true"]))
        with pytest.raises(Conflict, match="container is paused and must be unpaused first"):
            await world.containers.remove("web", force=False, volumes=False, link=False)
        with pytest.raises(Conflict, match="cannot start a paused container, try unpause instead"):
            await world.containers.start("web")
        await world.containers.remove("web", force=True, volumes=False, link=False)

    asyncio.run(main())
    assert world.runtime.running == {}


def test_only_what_runs_can_be_paused_and_only_what_is_paused_resumed(world):
    async def main():
        identifier = await started(world)
        with pytest.raises(InternalError, match=f"Container {identifier} is not paused"):
            await world.containers.unpause("web")
        world.runtime.finish(identifier, 0)
        with pytest.raises(Conflict, match=f"container {identifier} is not running"):
            await world.containers.pause("web")

    asyncio.run(main())


@pytest.mark.parametrize("frozen", [True, False])
def test_after_a_crash_the_kernel_says_whether_it_is_paused(world, frozen):
    async def main():
        identifier = await started(world)
        if not frozen:
            await world.containers.pause("web")
        (world.runtime.paused.add if frozen else world.runtime.paused.discard)(identifier)
        again = await world.restarted()
        assert (await state(again)).paused is frozen

    asyncio.run(main())


def test_a_pause_of_the_engines_own_is_ended_by_the_next_engine(world):
    async def main():
        await started(world)
        await world.containers.pauser.pause(world.context.store.get("web"), for_a_moment=True)
        again = await world.restarted()
        assert (await state(again)).status == "running"

    asyncio.run(main())
    assert not world.runtime.paused


def test_a_pause_of_the_engines_own_ends_nobody_elses(world):
    async def main():
        await started(world)
        pauser, container = world.containers.pauser, world.context.store.get("web")
        await pauser.pause(container, for_a_moment=True)
        await world.containers.unpause("web")
        await world.containers.pause("web")
        await pauser.thaw(container)
        assert (await state(world)).paused
        assert (await state(await world.restarted())).paused

    asyncio.run(main())
