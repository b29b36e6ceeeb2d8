import asyncio
import json
import os

import pytest
from lifecycles import create, run, started, state

from corten.errors import Conflict, InvalidParameter, NoSuchContainer, NoSuchImage, NotModified
from corten.filters import Filters
from corten.runtimes.protocol import StartFailed
from corten.types.container import RestartPolicy
from corten.types.operations import ContainerListOptions, WaitCondition


def test_a_life_from_create_to_remove(world):
    async def main():
        identifier = await create(world)
        assert (await state(world)).status == "created"
        await world.containers.start("web")
        running = await state(world)
        assert (running.status, running.running, running.pid) == ("running", True, 1001)
        waiting = await world.containers.wait(identifier[:8], WaitCondition.NOT_RUNNING)
        world.runtime.finish(identifier, 3)
        assert (await waiting).status_code == 3
        ended = await state(world)
        assert (ended.status, ended.exit_code, ended.pid, ended.running) == ("exited", 3, 0, False)
        await world.settle()
        await world.containers.remove("web", force=False, volumes=False, link=False)
        with pytest.raises(NoSuchContainer, match="No such container: web"):
            await world.containers.inspect("web", size=False)
        assert not os.listdir(os.path.join(world.root, "containers"))
        assert world.runtime.ended == {}

    run(main())
    assert world.events() == ["create", "start", "die", "destroy"]


def test_refusals_leave_nothing_behind(world):
    async def main():
        with pytest.raises(NoSuchImage):
            await create(world, image="nope")
        with pytest.raises(InvalidParameter, match="Minimum memory limit allowed is 6MB"):
            await create(world, host={"memory": 1024})
        with pytest.raises(InvalidParameter, match="Duplicate mount point: /data"):
            await create(world, host={"binds": ["/x:/data", "/y:/data"]})
        with pytest.raises(InvalidParameter, match="No such container: gone"):
            await create(world, host={"volumes_from": ["gone"]})
        await create(world)
        with pytest.raises(Conflict, match='The container name "/web" is already in use by container'):
            await create(world)
        with pytest.raises(InvalidParameter, match="Invalid container name"):
            await create(world, "no way")

    run(main())
    assert len(world.context.store) == len(os.listdir(os.path.join(world.root, "containers"))) == 1


def test_failing_create_takes_its_anonymous_volumes_away(world):
    async def main():
        await create(world, volumes={"/data": {}})
        with pytest.raises(Conflict):
            await create(world, volumes={"/data": {}})

    run(main())
    assert len(world.context.volumes.all()) == 1


@pytest.mark.parametrize(
    ("errno", "stage", "code", "kind"),
    [
        (2, "exec", 127, "InvalidParameter"),
        (13, "exec", 126, "InvalidParameter"),
        (12, "mount", 128, "Error"),
    ],
)
def test_a_start_that_fails(world, errno, stage, code, kind):
    world.runtime.fail = StartFailed(
        'exec: "x": executable file not found in $PATH', errno=errno, stage=stage
    )

    async def main():
        await create(world)
        with pytest.raises(Exception, match="error during container init: exec:") as caught:
            await world.containers.start("web")
        assert any(kind in base.__name__ for base in type(caught.value).__mro__)
        failed = await state(world)
        assert (failed.status, failed.exit_code) == ("created", code)
        assert "executable file not found" in failed.error
        assert world.context.network.members.of(world.context.store.get("web").id) == []
        world.runtime.fail = None
        await world.containers.start("web")
        assert (await state(world)).running

    run(main())


def test_an_exit_before_start_has_returned_is_not_lost(world):
    world.runtime.quick_exit = 5

    async def main():
        identifier = await create(world)
        waiting = await world.containers.wait(identifier, WaitCondition.NEXT_EXIT)
        await world.containers.start(identifier)
        assert (await waiting).status_code == 5
        assert (await state(world)).status == "exited"
        await world.settle()

    run(main())
    assert world.events() == ["create", "start", "die"]


def test_start_twice_and_stop_twice_change_nothing(world):
    async def main():
        await started(world)
        with pytest.raises(NotModified):
            await world.containers.start("web")
        await world.containers.stop("web", timeout_s=None, signal="")
        with pytest.raises(NotModified):
            await world.containers.stop("web", timeout_s=None, signal="")
        with pytest.raises(Conflict, match="is not running"):
            await world.containers.kill("web", "TERM")
        await world.settle()

    run(main())
    assert world.runtime.signals == [15]


def test_stop_kills_what_does_not_listen(world):
    async def main():
        identifier = await started(world)
        world.runtime.stubborn.add(identifier)
        await world.containers.stop("web", timeout_s=0, signal="")
        assert (await state(world)).exit_code == 137
        await world.settle()

    run(main())
    assert world.runtime.signals == [15, 9]
    assert world.events()[-4:] == ["kill", "kill", "die", "stop"]


def test_remove_wants_force_while_it_runs(world):
    async def main():
        await started(world)
        with pytest.raises(Conflict) as caught:
            await world.containers.remove("web", force=False, volumes=False, link=False)
        assert str(caught.value) == (
            'cannot remove container "/web": container is running: '
            "stop the container before removing or force remove"
        )
        await world.containers.remove("web", force=True, volumes=False, link=False)
        await world.settle()

    run(main())
    assert len(world.context.store) == 0


def test_auto_remove_takes_container_and_anonymous_volume(world):
    async def main():
        identifier = await started(
            world, volumes={"/data": {}}, host={"auto_remove": True, "binds": ["named:/n"]}
        )
        waiting = await world.containers.wait(identifier, WaitCondition.REMOVED)
        world.runtime.finish(identifier, 4)
        assert (await waiting).status_code == 4
        await world.settle()

    run(main())
    assert len(world.context.store) == 0
    assert [volume.name for volume in world.context.volumes.all()] == ["named"]


def test_restart_policy_backs_off_and_gives_up_on_stop(world):
    async def main():
        identifier = await started(world, host={"restart_policy": RestartPolicy(name="always")})
        world.runtime.finish(identifier, 1)
        assert (await state(world)).status == "restarting"
        await asyncio.sleep(0.15)
        again = await world.containers.inspect("web", size=False)
        assert (again.state.status, again.restart_count) == ("running", 1)
        await world.containers.stop("web", timeout_s=None, signal="")
        await asyncio.sleep(0.25)
        assert (await state(world)).status == "exited"
        await world.settle()

    run(main())


def test_on_failure_counts(world):
    async def main():
        policy = RestartPolicy(name="on-failure", maximum_retry_count=1)
        identifier = await started(world, host={"restart_policy": policy})
        world.runtime.finish(identifier, 1)
        await asyncio.sleep(0.15)
        waiting = await world.containers.wait("web", WaitCondition.NOT_RUNNING)
        world.runtime.finish(identifier, 1)
        assert (await waiting).status_code == 1
        assert (await state(world)).status == "exited"
        await world.settle()

    run(main())


def test_after_an_engine_restart_everything_is_as_it_was_or_recorded(world):
    async def main():
        keep = await started(world, "keep")
        gone = await started(world, "gone")
        auto = await started(world, "auto", host={"auto_remove": True})
        always = await started(world, "always", host={"restart_policy": RestartPolicy(name="always")})
        created = await create(world, "created")
        world.runtime.finish(gone, 7, oom=True, tell=False)
        world.runtime.finish(auto, 0, tell=False)
        world.runtime.finish(always, 0, tell=False)
        world.runtime.running["f" * 64] = 99
        os.mkdir(os.path.join(world.root, "containers", "orphan"))
        new = await world.restarted()
        await new.settle()
        await asyncio.sleep(0.15)
        await new.settle()
        assert (await state(new, "keep")).running
        ended = await state(new, "gone")
        assert (ended.status, ended.exit_code, ended.oom_killed) == ("exited", 7, True)
        assert new.context.store.find(auto) is None
        assert (await state(new, "always")).running
        assert (await state(new, "created")).status == "created"
        assert "f" * 64 not in new.runtime.running
        assert set(os.listdir(os.path.join(world.root, "containers"))) == {keep, gone, always, created}
        waiting = await new.containers.wait("keep", WaitCondition.NOT_RUNNING)
        new.runtime.finish(keep, 9)
        assert (await waiting).status_code == 9
        await new.settle()
        new.close()

    run(main())


def test_a_task_that_nobody_saw_end_counts_as_255(world):
    """The exec root is another one: the machine was restarted."""

    async def main():
        await world.containers.restore()
        identifier = await started(world)
        world.runtime.running.pop(identifier)
        os.unlink(os.path.join(os.path.dirname(world.context.store.run_directory), "exec-root-id"))
        new = await world.restarted()
        assert (await state(new)).exit_code == 255
        await new.settle()
        new.close()

    run(main())


def test_a_start_that_never_came_about_is_as_if_nobody_had_asked(world):
    """The engine died between the ledger's "running" and the supervisor's task."""

    async def main():
        await world.containers.restore()
        first = await started(world)
        second = await started(world, "again")
        world.runtime.finish(second, 3)
        before = await state(world, "again")
        await world.settle()
        await world.containers.start("again")
        for identifier in (first, second):
            world.runtime.running.pop(identifier)
        new = await world.restarted()
        once = await state(new)
        before_all = "0001-01-01T00:00:00Z"
        assert (once.status, once.exit_code, once.started_at) == ("created", 0, before_all)
        again = await state(new, "again")
        assert (again.status, again.exit_code, again.finished_at) == ("exited", 3, before.finished_at)
        await new.containers.start("web")
        assert (await state(new)).status == "running"
        await new.settle()
        new.close()

    run(main())
    assert world.events().count("die") == 1


def test_a_policys_start_that_never_came_about_is_tried_again(world):
    async def main():
        await world.containers.restore()
        policy = RestartPolicy(name="on-failure")
        identifier = await started(world, host={"restart_policy": policy})
        world.runtime.finish(identifier, 3)
        await world.settle()
        await world.containers.start("web")
        world.runtime.running.pop(identifier)
        new = await world.restarted()
        while (await state(new)).status != "running":
            await asyncio.sleep(0.01)
        new.close()

    run(main())


def test_starts_settle_after_their_engine(world):
    """What the supervisor was about to do when it was asked for its tasks: done later, or failed."""

    async def main():
        await world.containers.restore()
        lives, fails = await started(world, "lives"), await started(world, "fails")
        new = await world.restarted()
        world.runtime.settled(lives, 4711)
        world.runtime.running.pop(fails)
        world.runtime.settled(fails, 0)
        assert (await state(new, "lives")).pid == 4711
        assert (await state(new, "fails")).status == "created"
        await new.settle()
        new.close()

    run(main())


def test_shutdown_stops_all_and_unless_stopped_ones_come_back(world):
    async def main():
        await started(world, host={"restart_policy": RestartPolicy(name="unless-stopped")})
        await world.containers.stop_all(5)
        assert (await state(world)).status == "exited"
        await world.settle()
        new = await world.restarted()
        await asyncio.sleep(0.02)
        await new.settle()
        assert (await state(new)).running
        new.close()

    run(main())


def test_listing_filters(world):
    async def main():
        first = await started(world, "first", labels={"a": "1"})
        await create(world, "second", labels={"a": "2"})
        await started(world, "third")
        world.runtime.finish(first, 2)
        await world.settle()

        async def names(all=False, limit=0, **filters):
            options = ContainerListOptions(all=all, limit=limit, filters=Filters(filters))
            return [summary.names[0] for summary in await world.containers.list(options)]

        assert await names() == ["/third"]
        assert await names(all=True) == ["/third", "/second", "/first"]
        assert await names(limit=2) == ["/third", "/second"]
        assert await names(status=["exited"]) == ["/first"]
        assert await names(all=True, exited=["2"]) == ["/first"]
        assert await names(all=True, label=["a"]) == ["/second", "/first"]
        assert await names(all=True, label=["a=2"]) == ["/second"]
        assert await names(all=True, name=["^/fi"]) == ["/first"]
        assert await names(all=True, since=["first"]) == ["/third", "/second"]
        assert await names(all=True, before=["second"]) == ["/first"]
        assert await names(all=True, ancestor=["busybox"]) == ["/third", "/second", "/first"]
        assert await names(all=True, network=["none"]) == ["/third", "/second", "/first"]
        with pytest.raises(InvalidParameter, match="invalid filter 'status="):
            await names(status=["sleeping"])

    run(main())


def test_status_column(world):
    async def main():
        identifier = await started(world)
        (listed,) = await world.containers.list(ContainerListOptions())
        assert (listed.status, listed.command, listed.image) == ("Up Less than a second", "true", "busybox")
        world.runtime.finish(identifier, 130)
        (listed,) = await world.containers.list(ContainerListOptions(all=True))
        assert listed.status == "Exited (130) Less than a second ago"
        await world.settle()

    run(main())


def test_rename(world):
    async def main():
        await create(world)
        await create(world, "other")
        with pytest.raises(Conflict):
            await world.containers.rename("web", "other")
        await world.containers.rename("web", "new")
        assert (await world.containers.inspect("new", size=False)).name == "/new"

    run(main())


def test_prune_takes_only_stopped_ones_with_the_label(world):
    async def main():
        await started(world, "runs", labels={"x": "1"})
        await create(world, "old", labels={"x": "1"})
        await create(world, "kept")
        report = await world.containers.prune(Filters({"label": ["x=1"]}))
        assert len(report.containers_deleted) == 1
        assert {c.name for c in world.context.store.all()} == {"runs", "kept"}

    run(main())


def test_what_the_runtime_is_asked(world):
    async def main():
        identifier = await started(world, user="5:6", env=["A=b"], hostname="h", working_dir="/w")
        asked = world.runtime.requests[identifier]
        spec = json.loads(asked.spec)
        assert spec["process"]["args"] == ["true"]
        assert spec["process"]["cwd"] == "/w"
        assert spec["process"]["user"] == {"uid": 5, "gid": 6, "additionalGids": [6]}
        assert spec["process"]["env"] == [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=h",
            "A=b",
            "IMAGE=1",
            "HOME=/",
        ]
        assert spec["linux"]["cgroupsPath"] == f"/corten/{identifier}"
        assert asked.seccomp == b"default"
        assert asked.log.path.endswith(f"/{identifier}-json.log")
        with open(f"{world.root}/run/{identifier}/hostname") as file:
            assert file.read() == "h\n"

    run(main())


def test_execs(world):
    async def main():
        from corten.types.exec import ExecConfig, ExecStartConfig

        execs = world.containers.execs
        identifier = await create(world)
        with pytest.raises(Conflict, match="is not running"):
            await execs.create("web", ExecConfig(cmd=["ps"]))
        await world.containers.start("web")
        with pytest.raises(InvalidParameter, match="No exec command specified"):
            await execs.create("web", ExecConfig())
        made = await execs.create("web", ExecConfig(cmd=["ps", "aux"], attach_stdout=True))
        assert (await execs.inspect(made.id)).exit_code is None
        await execs.start_detached(made.id, ExecStartConfig())
        assert (await execs.inspect(made.id)).running
        with pytest.raises(Conflict, match="is already running"):
            await execs.check(made.id)
        world.runtime.finish(identifier, 0)
        ended = await execs.inspect(made.id)
        assert (ended.running, ended.exit_code, ended.container_id) == (False, 137, identifier)
        await world.settle()

    run(main())
