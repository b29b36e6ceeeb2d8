"""kill -9 of supervisor, log writer and janitor: containers live on and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from corten.errors import InternalError
from corten.logs.files import RotatedLog
from corten.runtimes.protocol import ExternalRuntime
from supervisor_harness import harness

pytestmark = pytest.mark.root

COUNT = "i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 42"


def expected() -> list[str]:
    return [f"line {n}" for n in range(60)]


async def wait_gone(pid: int) -> None:
    for _ in range(500):
        if not os.path.exists(f"/proc/{pid}"):
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("role", ["supervisor", "log-writer", "janitor"])
def test_a_killed_process_loses_nothing(rootfs: str, role: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sh", "-c", COUNT])
            await h.start("b", ["cat"], open_stdin=True)
            for _ in range(3):
                await asyncio.sleep(0.15)
                pid = h.kill_role(role)
                await wait_gone(pid)
                for _ in range(200):
                    if h.supervisor_pids().get(role) not in (None, pid):
                        break
                    await asyncio.sleep(0.01)
            assert (await h.exit("a")).code == 42
            assert h.log_text("a").split("\n")[:-1] == expected()
            tasks = {t.task_id: t for t in await h.runtime.tasks()}
            assert tasks["b"].exit is None
            stdin = await h.runtime.attach_stdin("b")
            assert stdin is not None
            os.write(stdin, b"still here\n")
            os.close(stdin)
            await h.runtime.close_stdin("b")
            assert (await h.exit("b")).code == 0
            assert h.log_text("b") == "still here\n"

    asyncio.run(go())


def test_exit_while_the_supervisor_is_dead(rootfs: str) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sh", "-c", "sleep 0.5; exit 42"])
            pid = h.supervisor_pids()["supervisor"]
            # Stop it first: the engine's client restarts a dead one at once, a stopped one stays.
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.8)
            os.kill(pid, signal.SIGKILL)
            for _ in range(300):
                tasks = await h.runtime.tasks()
                if tasks and tasks[0].exit is not None:
                    break
                await asyncio.sleep(0.02)
            assert tasks[0].exit is not None
            assert tasks[0].exit.code == 42

    asyncio.run(go())


@pytest.mark.parametrize("terminal", [False, True])
def test_starts_that_a_dying_supervisor_leaves_behind(rootfs: str, terminal: bool) -> None:
    """Each either runs as if nothing had been, or has never been and can be started again."""
    names = [f"t{n}" for n in range(24)]

    async def go() -> None:
        async with harness(rootfs) as h:
            writer, supervisor = h.supervisor_pids()["log-writer"], h.supervisor_pids()["supervisor"]
            os.kill(writer, signal.SIGSTOP)  # the kernel takes some 200 kB for it, the rest must wait
            command = ["sh", "-c", "echo here; exit 7"]
            how = {"terminal": terminal, "log": {"attrs": {"long": "x" * 20_000}}}
            starts = [asyncio.create_task(h.start(name, command, **how)) for name in names]
            await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
            os.kill(supervisor, signal.SIGKILL)
            os.kill(writer, signal.SIGCONT)
            results = await asyncio.gather(*starts, return_exceptions=True)
            assert any(isinstance(result, InternalError) for result in results)
            for name, result in zip(names, results, strict=True):
                if name == names[-1]:
                    assert isinstance(result, InternalError)
                    break  # what is not started again has left nothing: the harness looks
                if isinstance(result, BaseException):
                    assert isinstance(result, InternalError), result
                    assert name not in {task.task_id for task in await h.runtime.tasks()}
                    assert h.log_text(name) == ""
                    await h.start(name, command, **how)
            for name in names[:-1]:
                assert await ended(h, name) == 7
                assert h.log_text(name).split() == ["here"]

    asyncio.run(go())


def test_a_task_started_again_is_not_taken_for_the_one_before(rootfs: str) -> None:
    """The janitor is busy, the supervisor dies, and the next one knows nothing of what is left to clean."""

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["true"])
            janitor = h.supervisor_pids()["janitor"]
            await h.exit("a")
            h.exits.clear()
            await h.start("a", ["sh", "-c", "read x"], open_stdin=True)
            os.kill(janitor, signal.SIGSTOP)
            await h.runtime.kill("a", signal.SIGKILL)
            assert (await h.exit("a")).code == 137
            h.exits.clear()
            await h.runtime.forget("a")
            await h.runtime.tasks()  # it has been forgotten
            os.kill(h.supervisor_pids()["supervisor"], signal.SIGKILL)
            assert await h.runtime.tasks() == []  # by another supervisor
            again = asyncio.create_task(h.start("a", ["sh", "-c", "read x; exit 9"], open_stdin=True))
            await asyncio.wait([again], timeout=0.3)
            os.kill(janitor, signal.SIGCONT)
            await again
            await asyncio.sleep(0.3)  # the janitor kills what is in the cgroup 50 ms after it has failed
            stdin = await h.runtime.attach_stdin("a")
            assert stdin is not None
            os.write(stdin, b"x\n")
            os.close(stdin)
            assert await ended(h, "a") == 9

    asyncio.run(go())


@pytest.mark.parametrize("forgotten", [True, False])
def test_a_former_end_is_not_taken_for_that_of_a_task_started_again(rootfs: str, forgotten: bool) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sh", "-c", "exit 7"])
            assert (await h.exit("a")).code == 7
            h.exits.clear()
            if forgotten:
                await h.runtime.forget("a")
            await h.start("a", ["sh", "-c", "read x; exit 9"], open_stdin=True)
            os.kill(h.supervisor_pids()["supervisor"], signal.SIGKILL)
            (task,) = await h.runtime.tasks()
            assert task.exit is None
            stdin = await h.runtime.attach_stdin("a")
            assert stdin is not None
            os.write(stdin, b"x\n")
            os.close(stdin)
            assert await ended(h, "a") == 9

    asyncio.run(go())


def test_a_cgroup_to_be_cleaned_twice_is_cleaned_once(rootfs: str) -> None:
    """The second time would be that of the task started again: asked for by supervisor and engine alike."""

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["true"])
            await h.exit("a")
            h.exits.clear()
            janitor = h.supervisor_pids()["janitor"]
            lingering = await asyncio.create_subprocess_exec("sleep", "1000")
            os.kill(janitor, signal.SIGSTOP)
            await h.start("b", ["true"])
            for path in cgroups_of(h, "b"):
                (path / "cgroup.procs").write_text(str(lingering.pid))
            await h.exit("b")
            h.exits.clear()
            for _ in range(3):
                await h.runtime._request("clean", {"id": "b", "cgroup": f"{h.cgroup}/b"})
            os.kill(janitor, signal.SIGCONT)
            await h.start("b", ["sh", "-c", "sleep 0.3; exit 9"])
            assert await ended(h, "b") == 9
            await lingering.wait()

    asyncio.run(go())


@pytest.mark.parametrize("roles", [["janitor"], ["janitor", "supervisor"]])
def test_what_another_runtime_has_left_goes_though_the_janitor_dies_over_it(
    rootfs: str, roles: list[str]
) -> None:
    path = shutil.which("runc")
    assert path, "runc is installed by script/setup --dev"
    runtime = ExternalRuntime(name="runc", path=path, arguments=[])

    async def go() -> None:
        async with harness(rootfs) as h:
            for name in ("again", "gone"):
                await h.start(name, ["sleep", "1000"], runtime=runtime)
            pids = h.supervisor_pids()
            os.kill(pids["janitor"], signal.SIGSTOP)
            for name in ("again", "gone"):
                await h.runtime.kill(name, signal.SIGKILL)
                assert await ended(h, name) == 137
            h.exits.clear()
            await h.runtime.forget("gone")
            await h.runtime.tasks()  # it has been forgotten
            for role in roles:
                os.kill(pids[role], signal.SIGKILL)
            await h.runtime.tasks()  # answered by a supervisor that lives
            await h.start("again", ["sh", "-c", "exit 9"], runtime=runtime)
            assert await ended(h, "again") == 9
            for _ in range(400):
                if not os.listdir(f"{h.exec_root}/bundles"):
                    break
                await asyncio.sleep(0.05)
            assert not os.listdir(f"{h.exec_root}/bundles")
            assert not os.listdir(f"{h.exec_root}/runtimes/runc")

    asyncio.run(go())


def cgroups_of(h: Any, name: str) -> list[Path]:
    return [Path(base) for base, _, _ in os.walk("/sys/fs/cgroup") if base.endswith(f"{h.cgroup}/{name}")]


async def ended(h: Any, name: str) -> int:
    """The exit code, of which the supervisor that died may have been the one to tell."""
    while True:
        for task in await h.runtime.tasks():
            if task.task_id == name and task.exit is not None:
                return int(task.exit.code)
        await asyncio.sleep(0.01)


TALK = "i=0; while [ $i -lt 20000 ]; do echo $i; printf half; echo -$i; i=$((i+1)); done; printf end; exit 3"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_writer_killed_again_and_again_loses_and_doubles_nothing(rootfs: str, terminal: bool) -> None:
    """Between looking, moving, writing and forgetting; rotation is among it."""
    wanted = "".join(f"{n}\nhalf-{n}\n" for n in range(20000)) + "end"

    async def go() -> None:
        async with harness(rootfs) as h:
            how = {"terminal": terminal, "log": {"max_bytes": 100_000, "max_files": 100}}
            await h.start("a", ["sh", "-c", TALK], **how)
            over = asyncio.create_task(h.exit("a"))
            kills = 0
            while not over.done():
                pid = h.supervisor_pids().get("log-writer")
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                await asyncio.wait([over], timeout=random.uniform(0.02, 0.1))  # noqa: S311
            assert kills > 1
            assert (await over).code == 3
            assert whole_log(h.log_path("a")).replace("\r\n", "\n") == wanted

    asyncio.run(go())


def whole_log(path: str) -> str:
    with RotatedLog(path) as log:
        found = b""
        while data := log.read_lines():
            found += data
    return "".join(json.loads(line)["log"] for line in found.splitlines())
