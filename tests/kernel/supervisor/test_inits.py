"""A task's init is made by the nursery where that may be, and all the same without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from corten.runtimes.protocol import StartFailed
from supervisor_harness import children, harness

pytestmark = pytest.mark.skipif(
    os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="with cgroup v2 everything is forked"
)

_KINDS = ("pid", "mount", "ipc", "uts", "network", "cgroup")
_MAPS = {"linux__uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]}
_MAPS["linux__gidMappings"] = _MAPS["linux__uidMappings"]


def _namespaces(*kinds: str) -> dict[str, object]:
    return {"linux__namespaces": [{"type": kind} for kind in kinds]}


@pytest.mark.parametrize(
    ("changes", "shares"),
    [
        ({}, True),
        ({"process__capabilities": {"bounding": ["ALL"]}}, True),
        (_namespaces(*_KINDS[1:]), False),
        (_namespaces(*_KINDS, "time"), False),
        ({**_namespaces(*_KINDS, "user"), **_MAPS}, False),
    ],
    ids=["alone", "with all rights", "among the host's", "in another time", "as a user"],
)
def test_inits_are_made_by_a_nursery(rootfs: str, changes: dict[str, object], shares: bool) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            os.chmod(h.exec_root, 0o711)  # for whom root is a user
            await h.start("a", ["sh", "-c", "exit 3"], changes=changes)
            assert (await h.exit("a")).code == 3
            assert ("nursery" in h.supervisor_pids()) == shares

    asyncio.run(go())


_FAILING = [
    (["not-there"], {}),
    (["/etc/passwd"], {}),
    (["true"], {"process__cwd": "/etc/passwd"}),
    (
        ["true"],
        {"mounts": [{"destination": "/x", "type": "bind", "source": "/not/there", "options": ["bind"]}]},
    ),
    (["true"], {"mounts": [{"destination": "/x", "type": "nofs", "source": "none"}]}),
    (["true"], {"linux__sysctl": {"kernel.not_there": "1"}}),
    (["true"], {"process__rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]}),
    (["true"], {"process__scheduler": {"policy": "SCHED_BATCH"}}),
]


def test_what_keeps_an_init_from_its_program_is_told_alike(rootfs: str) -> None:
    async def told(h, args: list[str], changes: dict[str, object]) -> str:
        with pytest.raises(Exception) as failed:  # noqa: PT011
            await h.start("a", args, changes=changes)
        return re.sub(r"fd/\d+", "fd/N", f"{type(failed.value)} {failed.value}")

    async def go() -> None:
        async with harness(rootfs) as h:
            for args, changes in _FAILING:
                shared = await told(h, args, changes)
                assert await told(h, args, {**changes, **_namespaces(*_KINDS[1:])}) == shared
            await h.start("a", ["sh", "-c", "exit 3"])
            assert (await h.exit("a")).code == 3

    asyncio.run(go())


@pytest.mark.parametrize("number", [signal.SIGKILL, 0])
def test_an_init_whose_nursery_dies_or_stops_over_it_is_made_all_the_same(rootfs: str, number: int) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("first", ["true"])
            nursery = h.supervisor_pids()["nursery"]
            os.kill(nursery, signal.SIGSTOP)
            names = [f"t{count}" for count in range(5)]
            starts = [asyncio.create_task(h.start(name, ["sh", "-c", "exit 2"])) for name in names]
            await asyncio.sleep(0)  # so that their requests are the first
            # One that the nursery is not to make need not wait.
            await h.start("forked", ["true"], changes=_namespaces(*_KINDS[1:]))
            os.kill(nursery, number)
            await asyncio.gather(*starts)
            assert [(await h.exit(name)).code for name in names] == [2] * 5
            pids = h.supervisor_pids()
            assert nursery not in pids.values()
            assert str(nursery) not in children(pids["supervisor"])

    asyncio.run(go())


async def _on_its_way(h, name: str, *args: str, **changes: object) -> tuple[asyncio.Task[int], int, str]:
    """A start whose init waits in the middle of its set-up, its pid, and the FIFO for whose reader it waits."""
    fifo, place = f"{h.exec_root}/fifo", "/proc/sys/kernel/domainname"
    os.mkfifo(fifo)
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": place, "type": "bind", "source": fifo, "options": ["bind"]},
    ]
    changes |= {"mounts": mounts, "linux__sysctl": {"kernel.domainname": "x"}}
    supervisor = h.supervisor_pids()["supervisor"]
    pending = asyncio.create_task(h.start(name, list(args) or ["sh", "-c", "exit 3"], changes=changes))
    while not pending.done():
        await asyncio.sleep(0.01)
        for pid in children(supervisor):
            with contextlib.suppress(OSError):
                if f"/mnt{place} " in Path(f"/proc/{pid}/mountinfo").read_text():
                    return pending, int(pid), fifo
    raise AssertionError(await pending)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_init_that_dies_or_stops_on_its_way_leaves_nothing(rootfs: str, number: int) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("first", ["true"])
            await h.exit("first")
            supervisor = h.supervisor_pids()["supervisor"]
            had = h.held()
            pending, pid, _ = await _on_its_way(h, "a")
            os.kill(pid, number)
            if number == signal.SIGKILL:
                await pending
                assert (await h.exit("a")).code == 137
            else:
                with pytest.raises(StartFailed, match="stopped"):
                    await asyncio.wait_for(pending, 20)
            await h.start("b", ["sh", "-c", "exit 3"])
            assert (await h.exit("b")).code == 3
            pids = h.supervisor_pids()
            assert set(children(supervisor)) == {str(pid) for pid in pids.values() if pid != supervisor}
            await h.holds_no_more_than(had)

    asyncio.run(go())


def test_an_init_that_fails_when_its_nursery_has_died_has_not_started(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("first", ["true"])
            nursery = h.supervisor_pids()["nursery"]
            pending, _, fifo = await _on_its_way(h, "a", "not-there")
            os.kill(nursery, signal.SIGKILL)
            Path(fifo).read_text()
            with pytest.raises(StartFailed):
                await pending
            await h.start("a", ["sh", "-c", "exit 3"])
            assert (await h.exit("a")).code == 3

    asyncio.run(go())


def test_who_comes_to_the_pid_namespace_of_an_init_finds_it_alone(rootfs: str) -> None:
    """Others wait for that one meanwhile. Also where it is given all rights, so that its execs would never be on shared memory."""

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("first", ["true"])
            nursery = h.supervisor_pids()["nursery"]
            pending, pid, fifo = await _on_its_way(h, "a", process__capabilities={"bounding": ["ALL"]})
            namespaces = [{"type": kind} for kind in _KINDS[1:]]
            namespaces.append({"type": "pid", "path": f"/proc/{pid}/ns/pid"})
            names = [f"t{count}" for count in range(3)]
            starts = [asyncio.create_task(h.start(name, ["sh", "-c", "exit 2"])) for name in names]
            await asyncio.sleep(0)  # so that their requests are the first
            await h.start("b", ["sleep", "100"], changes={"linux__namespaces": namespaces})
            await asyncio.gather(*starts)
            assert not Path(f"/proc/{nursery}").exists()
            Path(fifo).read_text()
            await pending
            assert (await h.exit("a")).code == 3

    asyncio.run(go())


def test_nobody_waits_for_long_for_an_init_that_takes_long(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            pending, _, fifo = await _on_its_way(h, "a")
            names = [f"t{count}" for count in range(5)]
            await asyncio.gather(*(h.start(name, ["sh", "-c", "exit 2"]) for name in names))
            assert [(await h.exit(name)).code for name in names] == [2] * 5
            assert not pending.done()
            Path(fifo).read_text()
            await pending
            assert (await h.exit("a")).code == 3

    asyncio.run(go())


def test_nothing_is_left_of_inits(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:

            async def some(name: str, count: int) -> None:
                for number in range(count):
                    task = f"{name}{number}"
                    await h.start(task, ["sh", "-c", f"exit {number}"], terminal=number % 3 == 0)
                    assert (await h.exit(task)).code == number
                    with pytest.raises(Exception, match="not-there"):
                        await h.start("failing", ["not-there"])

            await some("warm", 4)
            pids = h.supervisor_pids()
            both = [pids["supervisor"], pids["nursery"]]
            had = h.held()
            await some("a", 20)
            assert h.supervisor_pids() == pids
            await h.holds_no_more_than(had)
            for name in ("net", "uts", "ipc", "pid", "mnt"):  # it has come back
                homes = {os.readlink(f"/proc/{pid}/ns/{name}") for pid in both}
                assert len(homes) == 1

    asyncio.run(go())
