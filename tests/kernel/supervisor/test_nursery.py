"""Execs are made by a process of their own, and all the same without it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

from corten.linux.seccomp.compiler import compile_filter
from corten.runtimes.protocol import ExecRequest

_spec = importlib.util.spec_from_file_location("supervisor_conftest", Path(__file__).with_name("conftest.py"))
assert _spec and _spec.loader
_conftest = importlib.util.module_from_spec(_spec)
sys.modules["supervisor_conftest"] = _conftest
_spec.loader.exec_module(_conftest)
harness = _conftest.harness


async def _exec(h, name: str, *args: str, **options: object) -> int:
    process = {"args": list(args), "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    request = ExecRequest(
        task_id="a", exec_id=name, process=json.dumps(process).encode(), stdout=False, stderr=False, **options
    )
    await h.runtime.exec(request)
    return (await h.exit("a", name)).code


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_nursery_that_was_killed_is_replaced(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert "nursery" not in h.supervisor_pids()
            assert await _exec(h, "e1", "sh", "-c", "exit 1") == 1
            first = h.kill_role("nursery")
            assert await _exec(h, "e2", "sh", "-c", "exit 2") == 2
            assert await _exec(h, "e3", "sh", "-c", "exit 3") == 3
            pids = h.supervisor_pids()
            assert pids["nursery"] != first
            assert str(first) not in _children(pids["supervisor"])

    asyncio.run(go())


def test_an_exec_whose_nursery_dies_over_it_is_made_without(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _exec(h, "e1", "true") == 0
            nursery = h.supervisor_pids()["nursery"]
            os.kill(nursery, signal.SIGSTOP)
            pending = asyncio.create_task(_exec(h, "e2", "sh", "-c", "exit 2"))
            await asyncio.sleep(0)  # so that its request is the first
            assert await _exec(h, "e3", "sh", "-c", "exit 3") == 3  # it is busy: others need not wait
            assert not pending.done()
            os.kill(nursery, signal.SIGKILL)
            assert await pending == 2

    asyncio.run(go())


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
            assert await _exec(h, "e2", "/bin/true", seccomp=compile_filter(kills)) == 128 + signal.SIGSYS
            assert await _exec(h, "e3", "sh", "-c", "exit 3") == 3

    asyncio.run(go())


def test_nothing_is_left_of_execs(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            assert await _exec(h, "first", "true") == 0
            pids = h.supervisor_pids()
            both = [pids["supervisor"], pids["nursery"]]
            had = [len(os.listdir(f"/proc/{pid}/fd")) for pid in both], _children(both[0])
            for number in range(50):
                assert await _exec(h, f"e{number}", "sh", "-c", f"exit {number}") == number
            assert ([len(os.listdir(f"/proc/{pid}/fd")) for pid in both], _children(both[0])) == had
            assert h.supervisor_pids() == pids

    asyncio.run(go())
