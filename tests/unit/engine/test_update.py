import asyncio

import pytest
from lifecycles import create, started

from corten.errors import Conflict, InternalError, InvalidParameter
from corten.types.container import RestartPolicy, UpdateRequest

MIB = 1 << 20


async def host_config(world):
    return (await world.containers.inspect("web", size=False)).host_config


def update(world, **changes):
    return world.containers.update("web", UpdateRequest(**changes))


def test_limits_reach_the_running_container_and_the_ledger(world):
    async def main():
        identifier = await started(world, host={"memory": 64 * MIB})
        answer = await update(world, memory=32 * MIB, cpu_shares=512, pids_limit=-1)
        assert answer.warnings is None
        path, resources = world.context.cgroups.applied[-1]
        assert path == f"/corten/{identifier}"
        assert resources["memory"] == {"limit": 32 * MIB, "swap": 128 * MIB}
        assert (resources["cpu"]["shares"], resources["pids"]["limit"]) == (512, -1)
        assert "devices" not in resources
        again = await world.restarted()
        found = await host_config(again)
        assert (found.memory, found.memory_swap, found.cpu_shares) == (32 * MIB, 128 * MIB, 512)

    asyncio.run(main())
    assert world.events()[-1] == "update"


def test_a_stopped_container_gets_them_at_its_next_start(world):
    async def main():
        await create(world)
        await update(world, nano_cpus=500_000_000)
        assert (await host_config(world)).nano_cpus == 500_000_000

    asyncio.run(main())
    assert world.context.cgroups.applied == []


def test_what_the_kernel_refuses_is_taken_back(world):
    async def main():
        await started(world, host={"memory": 64 * MIB})
        world.context.cgroups.fail = OSError(16, "unable to set memory limit", "memory.limit_in_bytes")
        with pytest.raises(InternalError, match="Cannot update container .*unable to set memory limit"):
            await update(world, memory=8 * MIB)
        assert (await host_config(world)).memory == 64 * MIB

    asyncio.run(main())


def test_warnings_of_the_kernel_are_passed_on(world):
    async def main():
        await started(world)
        world.context.cgroups.warnings = ["Your kernel does not support X"]
        assert (await update(world, blkio_weight=500)).warnings == ["Your kernel does not support X"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "changes", "text"),
    [
        ({"nano_cpus": 10**9}, {"cpu_period": 50_000}, "CPU Period cannot be updated as NanoCPUs has"),
        ({"nano_cpus": 10**9}, {"cpu_quota": 50_000}, "CPU Quota cannot be updated as NanoCPUs has"),
        ({"cpu_period": 50_000}, {"nano_cpus": 10**9}, "Nano CPUs cannot be updated as CPU Period has"),
        ({"cpu_quota": 50_000}, {"nano_cpus": 10**9}, "Nano CPUs cannot be updated as CPU Quota has"),
        ({"memory": 8 * MIB}, {"memory": 32 * MIB}, "update the memoryswap at the same time"),
        (
            {"auto_remove": True},
            {"restart_policy": RestartPolicy(name="always")},
            "Restart policy cannot be updated because AutoRemove is enabled",
        ),
    ],
)
def test_contradictions(world, host, changes, text):
    async def main():
        await create(world, host=host)
        with pytest.raises(Conflict, match=f"^Cannot update container .*{text}"):
            await update(world, **changes)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"memory": 1}, "^Minimum memory limit allowed is 6MB"),
        ({"restart_policy": RestartPolicy(name="bogus")}, "unknown policy 'bogus'"),
        ({"nano_cpus": 10**15}, "Range of CPUs is from"),
    ],
)
def test_nonsense(world, changes, text):
    async def main():
        await create(world)
        with pytest.raises(InvalidParameter, match=text):
            await update(world, **changes)

    asyncio.run(main())


def test_the_new_restart_policy_counts_at_the_next_exit(world):
    async def main():
        identifier = await started(world)
        await update(world, restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=3))
        world.runtime.finish(identifier, 1)
        assert (await world.containers.inspect("web", size=False)).state.status == "restarting"

    asyncio.run(main())
