"""Execs are made by a process of their own where that is safe, and all the same without it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from corten.errors import InternalError
from corten.linux.seccomp.compiler import compile_filter
from corten.runtimes.protocol import ExecRequest
from supervisor_harness import CAPS, children, harness

pytestmark = pytest.mark.skipif(
    os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="with cgroup v2 everything is forked"
)


async def _exec(h, name: str, *args: str, caps: list[str] = CAPS, **options: object) -> int:
    process = {
        "args": list(args),
        "env": ["PATH=/bin"],
        "cwd": "/",
        "user": {"uid": 0, "gid": 0},
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), caps),
    }
    request = ExecRequest(
        task_id="a", exec_id=name, process=json.dumps(process).encode(), stdout=False, stderr=False, **options
    )
    await h.runtime.exec(request)
    return (await h.exit("a", name)).code


async def _shares(h, name: str) -> bool:
    """Whether an exec is made by a nursery."""
    await _kill_nursery(h)
    assert await _exec(h, name, "sh", "-c", "exit 3") == 3
    return "nursery" in h.supervisor_pids()


async def _kill_nursery(h) -> None:
    """One that a start or an exec has left."""
    while "nursery" in h.supervisor_pids():
        h.kill_role("nursery")
        await asyncio.sleep(0.01)


def test_a_nursery_that_was_killed_is_replaced(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _exec(h, "e1", "sh", "-c", "exit 1") == 1
            first = h.kill_role("nursery")
            assert await _exec(h, "e2", "sh", "-c", "exit 2") == 2
            assert await _exec(h, "e3", "sh", "-c", "exit 3") == 3
            pids = h.supervisor_pids()
            assert pids["nursery"] != first
            assert str(first) not in children(pids["supervisor"])

    asyncio.run(go())


async def _held_up(h) -> tuple[int, asyncio.Task[int]]:
    """A nursery that is stopped, and an exec that waits for it, to end with 2."""
    assert await _exec(h, "e1", "true") == 0
    nursery = h.supervisor_pids()["nursery"]
    os.kill(nursery, signal.SIGSTOP)
    pending = asyncio.create_task(_exec(h, "e2", "sh", "-c", "exit 2"))
    await asyncio.sleep(0)  # so that its request is the first
    return nursery, pending


@pytest.mark.parametrize("number", [signal.SIGKILL, 0])
def test_an_exec_whose_nursery_dies_or_stops_over_it_is_made_without(rootfs: str, number: int) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            nursery, pending = await _held_up(h)
            assert await _exec(h, "e3", "sh", "-c", "exit 3") == 3  # it is busy: others need not wait
            os.kill(nursery, number)
            assert await pending == 2

    asyncio.run(go())


def test_an_exec_that_cannot_be_made_without_either_is_answered(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _exec(h, "e1", "true") == 0
            os.kill(h.supervisor_pids()["nursery"], signal.SIGSTOP)  # until it is found and ended
            allowing = compile_filter({"defaultAction": "SCMP_ACT_ALLOW"})
            pending = asyncio.create_task(_exec(h, "e2", "true", seccomp=allowing))
            await asyncio.sleep(0)
            shutil.rmtree(f"{h.exec_root}/seccomp")  # nobody has read it yet
            with pytest.raises(InternalError, match="No such file"):
                await asyncio.wait_for(pending, 20)

    asyncio.run(go())


def test_execs_that_others_inside_kill_on_their_way_are_answered(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sh", "-c", "while :; do kill -KILL -1; done 2>/dev/null"])
            codes = {await _exec(h, f"e{number}", "sleep", "100") for number in range(20)}
            assert codes == {128 + signal.SIGKILL}
            supervisor = h.supervisor_pids()["supervisor"]
            assert not [pid for pid in children(supervisor) if _is_zombie(pid)]

    asyncio.run(go())


def _is_zombie(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_filter_that_forbids_the_signal_mask_keeps_nobody_from_its_program(rootfs: str) -> None:
    forbids = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["rt_sigprocmask"], "action": "SCMP_ACT_ERRNO"}],
    }

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _exec(h, "e1", "/bin/true", seccomp=compile_filter(forbids)) == 0
            kills = json.loads(json.dumps(forbids).replace("ACT_ERRNO", "ACT_KILL_PROCESS"))
            assert await _exec(h, "e2", "/bin/true", seccomp=compile_filter(kills)) == 0
            assert await _exec(h, "e3", "sh", "-c", "exit 3") == 3

    asyncio.run(go())


def test_nothing_is_left_of_execs(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _exec(h, "first", "true") == 0
            pids = h.supervisor_pids()
            had = h.held()
            for number in range(50):
                assert await _exec(h, f"e{number}", "sh", "-c", f"exit {number}") == number
            await h.holds_no_more_than(had)
            assert h.supervisor_pids() == pids

    asyncio.run(go())


@pytest.mark.parametrize("right", ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_PERFMON"])
def test_whom_processes_of_the_task_could_reach_shares_no_memory(rootfs: str, right: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            bounding = {**dict.fromkeys(("effective", "permitted"), CAPS), "bounding": [*CAPS, right]}
            await h.start("a", ["sleep", "100"], changes={"process__capabilities": bounding})
            assert not await _shares(h, "e1")

    asyncio.run(go())


def test_a_task_without_a_pid_namespace_of_its_own_shares_no_memory(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            namespaces = [{"type": n} for n in ("mount", "ipc", "uts", "network", "cgroup")]
            await h.start("a", ["sleep", "100"], changes={"linux__namespaces": namespaces})
            assert not await _shares(h, "e1")

    asyncio.run(go())


def test_nobody_shares_memory_after_an_exec_that_could_reach_him(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _shares(h, "e1")
            assert await _exec(h, "e2", "true", caps=[*CAPS, "CAP_SYS_PTRACE"]) == 0
            assert not await _shares(h, "e3")

    asyncio.run(go())


def test_nobody_shares_memory_after_others_came_to_the_pid_namespace(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            pid = await h.start("a", ["sleep", "100"])
            assert await _shares(h, "e1")
            namespaces = [{"type": n} for n in ("mount", "ipc", "uts", "network", "cgroup")]
            namespaces.append({"type": "pid", "path": f"/proc/{pid}/ns/pid"})
            await h.start("b", ["true"], changes={"linux__namespaces": namespaces})
            await h.exit("b")
            assert not await _shares(h, "e2")

    asyncio.run(go())


def test_who_comes_with_rights_finds_nobody_on_shared_memory(rootfs: str) -> None:
    """One is stopped on his way, the nursery waiting with him, when an exec comes that could reach him."""

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            nursery, pending = await _held_up(h)
            assert await _exec(h, "e3", "true", caps=[*CAPS, "CAP_SYS_PTRACE"]) == 0
            assert not Path(f"/proc/{nursery}").exists()
            assert await pending == 2

    asyncio.run(go())


def test_of_an_adopted_task_nothing_is_known(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _shares(h, "e1")
            h.kill_role("supervisor")
            await h.runtime.tasks()  # of the next one
            assert not await _shares(h, "e2")

    asyncio.run(go())
