import asyncio
import os

import pytest
from lifecycles import create, started, state

from corten.engine.containers.healthtests import OnFailure, Target, health_test
from corten.errors import InvalidParameter
from corten.runtimes.protocol import ExecStarted, Exit, StartFailed
from corten.types.container import ContainerConfig, Healthcheck, RestartPolicy

MS = 1_000_000
CHECK = Healthcheck(test=["CMD-SHELL", "check"], interval=MS, retries=2)


class Probes:
    """What the commands of health checks answer: the last answer is repeated."""

    def __init__(self, world, *answers):
        self.world, self.answers, self.asked = world, list(answers), []
        world.runtime.exec = self.exec

    async def exec(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        (out, write), (err, closed) = os.pipe(), os.pipe()
        os.close(closed)
        if answer is None:  # never ends
            os.close(write)
            return ExecStarted(pid=7, stdin_fd=None, stdout_fd=out, stderr_fd=err)
        os.write(write, answer[1])
        os.close(write)
        exit = Exit(
            task_id=request.task_id, exec_id=request.exec_id, code=answer[0], oom_killed=False, at_ns=0
        )
        asyncio.get_running_loop().call_soon(self.world.runtime._exit, exit)
        return ExecStarted(pid=7, stdin_fd=None, stdout_fd=out, stderr_fd=err)


async def until(world, status):
    while (health := (await state(world)).health) is None or health.status != status:
        await asyncio.sleep(0.001)
    return health


def test_it_turns_unhealthy_and_healthy(world):
    probes = Probes(world, (1, b"no\n"), (1, b"no\n"), (0, b"yes\n"))

    async def main():
        await create(world, healthcheck=CHECK)
        assert (await state(world)).health is None
        await world.containers.start("web")
        first = (await state(world)).health
        assert (first.status, first.failing_streak, first.log) == ("starting", 0, [])
        await until(world, "unhealthy")
        health = await until(world, "healthy")
        assert [(entry.exit_code, entry.output) for entry in health.log[:3]] == [
            (1, "no\n"),
            (1, "no\n"),
            (0, "yes\n"),
        ]
        while len((await state(world)).health.log) < 5 or len(probes.asked) < 8:
            await asyncio.sleep(0.001)
        assert len((await state(world)).health.log) == 5
        await world.containers.stop("web", timeout_s=None, signal="")
        assert (await state(world)).health.status == "unhealthy"

    asyncio.run(main())
    events = world.events()
    assert events.index("health_status: unhealthy") < events.index("health_status: healthy")
    assert "exec_start: /bin/sh -c check" in events


def test_failures_in_the_start_period_do_not_count(world):
    probes = Probes(world, (1, b""))
    check = Healthcheck(test=["CMD", "check"], interval=3600 * 1000 * MS, retries=1)
    check.start_period, check.start_interval = 3600 * 1000 * MS, MS

    async def main():
        await started(world, healthcheck=check)
        while len(probes.asked) < 4:
            await asyncio.sleep(0.001)
        health = (await state(world)).health
        assert (health.status, health.failing_streak) == ("starting", 0)
        await world.containers.remove("web", force=True, volumes=False, link=False)

    asyncio.run(main())


def test_a_probe_that_takes_too_long_is_killed(world):
    Probes(world, None)
    check = Healthcheck(test=["CMD", "check"], interval=MS, timeout=2 * MS, retries=1)

    async def main():
        await started(world, healthcheck=check)
        health = await until(world, "unhealthy")
        assert (health.log[0].exit_code, health.log[0].output) == (-1, "Health check exceeded timeout (2ms)")
        await world.settle_once()
        assert 9 in world.runtime.exec_signals

    asyncio.run(main())


def test_a_command_that_is_not_there(world):
    Probes(world, StartFailed('exec: "check": executable file not found in $PATH', errno=2, stage="exec"))

    async def main():
        await started(world, healthcheck=CHECK)
        health = await until(world, "unhealthy")
        assert health.log[0].exit_code == -1
        assert health.log[0].output.endswith('exec: "check": executable file not found in $PATH')

    asyncio.run(main())


def test_much_output_is_cut(world):
    Probes(world, (0, b"x" * 10_000))

    async def main():
        await started(world, healthcheck=CHECK)
        health = await until(world, "healthy")
        assert health.log[0].output == "x" * 4096 + "..."

    asyncio.run(main())


def test_a_pause_suspends_the_probes(world):
    probes = Probes(world, (0, b""))

    async def main():
        await started(world, healthcheck=CHECK)
        await until(world, "healthy")
        await world.containers.pause("web")
        asked = len(probes.asked)
        await asyncio.sleep(0.02)
        assert len(probes.asked) == asked
        await world.containers.unpause("web")
        while len(probes.asked) == asked:
            await asyncio.sleep(0.001)

    asyncio.run(main())


def test_health_survives_the_engine(world):
    Probes(world, (1, b"no"))

    async def main():
        await started(world, healthcheck=CHECK)
        before = await until(world, "unhealthy")
        new = await world.restarted()
        probes = Probes(new, (0, b"yes"))
        after = (await state(new)).health
        assert (after.status, after.log[0]) == ("unhealthy", before.log[0])
        await until(new, "healthy")
        assert probes.asked
        await new.context.background.close()
        new.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("action", "status", "code"),
    [("kill", "exited", 137), ("stop", "exited", 143), ("restart", "running", 0), ("none", "running", 0)],
)
def test_what_is_done_to_an_unhealthy_container(world, action, status, code):
    Probes(world, (1, b""), (1, b""), (0, b""))

    async def main():
        identifier = await started(world, healthcheck=CHECK, labels={"corten.health.on-failure": action})
        if action in ("none", "restart"):
            await until(world, "healthy")
        else:
            await world.context.store.get("web").ended.wait()
        found = await state(world)
        assert (found.status, found.exit_code) == (status, code)
        assert len(world.runtime.starts[identifier]) == (2 if action == "restart" else 1)

    asyncio.run(main())


def test_killed_for_being_unhealthy_the_policy_starts_it_again(world):
    Probes(world, (1, b""))

    async def main():
        await started(
            world,
            healthcheck=CHECK,
            labels={"corten.health.on-failure": "kill"},
            host={"restart_policy": RestartPolicy(name="always")},
        )
        while (await state(world)).status != "restarting":
            await asyncio.sleep(0.001)
        await world.containers.remove("web", force=True, volumes=False, link=False)

    asyncio.run(main())


def config(*test, **more):
    return ContainerConfig(healthcheck=Healthcheck(test=list(test), **more), labels=more.pop("labels", None))


@pytest.mark.parametrize("test", [(), ("NONE",), ("CMD",), ("BOGUS", "x")])
def test_no_check(test):
    assert health_test(config(*test)) is None


def test_commands_and_defaults():
    found = health_test(config("CMD-SHELL", "a b"))
    assert found.command == ("/bin/sh", "-c", "a b")
    assert (found.interval_s, found.timeout_s, found.start_period_s) == (30, 30, 0)
    assert (found.retries, found.on_failure) == (3, OnFailure.NONE)
    assert health_test(config("CMD", "a", "b")).command == ("a", "b")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("tcp://:5432", Target("127.0.0.1", 5432)),
        ("tcp://localhost:5432", Target("127.0.0.1", 5432)),
        ("tcp://[::1]:80", Target("::1", 80)),
        ("http://:8080/healthz?x=1", Target("127.0.0.1", 8080, "/healthz?x=1", ":8080")),
        ("http://127.0.0.2", Target("127.0.0.2", 80, "/", "127.0.0.2")),
    ],
)
def test_probes_of_the_engine(text, target):
    assert health_test(config("CMD-SHELL", text)).target == target
    assert health_test(config("CMD", text)).target == target


@pytest.mark.parametrize("text", ["tcp://:0", "tcp://x:80", "tcp://:80/x", "http://evil.example/", "tcp://"])
def test_impossible_targets(text):
    with pytest.raises(InvalidParameter, match="invalid health check"):
        health_test(config("CMD-SHELL", text))


def test_commands_that_only_look_alike():
    assert health_test(config("CMD-SHELL", "http://:80/ || exit 1")).target is None
    assert health_test(config("CMD-SHELL", "curl http://:80/")).target is None


@pytest.mark.parametrize("field", ["interval", "timeout", "start_period", "start_interval"])
def test_impossible_times(world, field):
    async def main():
        name = "".join(word.capitalize() for word in field.split("_"))
        for value in (1, -1):
            with pytest.raises(InvalidParameter, match=f"{name} in Healthcheck cannot be less than 1ms"):
                await create(world, healthcheck=Healthcheck(test=["CMD", "x"], **{field: value}))
        with pytest.raises(InvalidParameter, match="Retries in Healthcheck cannot be negative"):
            await create(world, healthcheck=Healthcheck(test=["CMD", "x"], retries=-1))
        with pytest.raises(InvalidParameter, match="on-failure=explode"):
            await create(world, labels={"corten.health.on-failure": "explode"})

    asyncio.run(main())
