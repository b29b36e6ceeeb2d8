"""The supervisor becomes the code of another version, and nobody in its care notices."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import corten
from corten.errors import InternalError
from corten.runtimes.launcher import Code, installed_code
from corten.runtimes.protocol import ExecRequest
from corten.runtimes.supervisor import SupervisorRuntime, connect_or_start
from supervisor_harness import harness

pytestmark = pytest.mark.root

COUNT = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); usleep 10000; done; exit 42"
EXPECTED = "".join(f"line {n}\n" for n in range(100))


@pytest.fixture
def another(tmp_path: Path) -> Code:
    """A further copy of the code, as an upgrade brings one."""
    return copied(tmp_path / "next")


def copied(folder: Path, file: str = "", text: str = "") -> Code:
    """A copy of the code, with some more text at the end of a file."""
    package = folder / "corten"
    shutil.copytree(Path(corten.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    if file:
        (package / file).write_text(f"{(package / file).read_text()}\n{text}\n")
    return installed_code(str(package))


async def upgrade(h: Any, code: Code) -> None:
    """Come as an engine of another version does: the one before has gone."""
    await h.runtime.close()
    h.runtime = await connect_or_start(h.exec_root, code=code)
    h.runtime.on_exit(h._exited)


async def version(runtime: SupervisorRuntime) -> str:
    answer, _ = await runtime._once("ping", {})
    return str(answer["version"])


async def replaced(h: Any, before: dict[str, int], code: Code) -> None:
    """Return when everybody runs the code."""
    for _ in range(500):
        pids = h.supervisor_pids()
        new = {role: pid for role, pid in pids.items() if pid != before.get(role)}
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids.values()]
        if {"log-writer", "janitor"} <= new.keys() and all(code.folder.encode() in each for each in commands):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not replaced: {before} {h.supervisor_pids()}")


async def read_all(fd: int) -> bytes:
    def work() -> bytes:
        data = b""
        while chunk := os.read(fd, 65536):
            data += chunk
        os.close(fd)
        return data

    return await asyncio.to_thread(work)


def shell(task_id: str, exec_id: str, script: str, **options: Any) -> ExecRequest:
    process = f'{{"args":["sh","-c","{script}"],"env":["PATH=/bin"],"cwd":"/","user":{{"uid":0,"gid":0}}}}'
    return ExecRequest(task_id=task_id, exec_id=exec_id, process=process.encode(), **options)


def test_everything_goes_on(rootfs: str, another: Code) -> None:
    """Same process, same children: exits, output, input, terminals, attached ones and execs are as if nothing
    had been; log writer and janitor are of the new code afterwards."""

    async def go() -> None:
        async with harness(rootfs) as h:
            before = h.supervisor_pids()
            await h.start("counts", ["sh", "-c", COUNT])
            await h.start("reads", ["cat"], open_stdin=True)
            await h.start(
                "talks", ["sh", "-c", "read x; echo got $x; exit 5"], terminal=True, open_stdin=True
            )
            await h.start("dies", ["sleep", "100"])
            await h.runtime.exec(shell("reads", "e1", "usleep 600000; exit 7"))
            told = await h.runtime.exec(shell("reads", "e2", "read x; echo $x; exit 8", stdin=True))
            await h.start("gone", ["sh", "-c", "exit 9"])
            await h.exit("gone")
            nofile = Path(f"/proc/{before['supervisor']}/limits").read_text()

            await upgrade(h, another)

            assert await version(h.runtime) == another.version
            assert h.supervisor_pids()["supervisor"] == before["supervisor"]
            assert Path(f"/proc/{before['supervisor']}/limits").read_text() == nofile
            tasks = {task.task_id: task for task in await h.runtime.tasks()}
            assert tasks.keys() == {"counts", "reads", "talks", "dies", "gone"}
            assert tasks["gone"].exit is not None
            assert tasks["gone"].exit.code == 9
            # Both may have ended while no engine was there to be told: on a busy machine an upgrade takes long.
            assert await exit_codes(h, ["counts"]) == [42]
            assert h.log_text("counts") == EXPECTED
            while (ended := await h.runtime.exec_info("e1")).code is None:
                await asyncio.sleep(0.02)
            assert ended.code == 7
            assert told.stdin_fd is not None
            assert told.stdout_fd is not None
            os.write(told.stdin_fd, b"hello\n")
            os.close(told.stdin_fd)
            assert await read_all(told.stdout_fd) == b"hello\n"
            assert (await h.exit("reads", "e2")).code == 8
            assert (await h.runtime.exec_info("e2")).code == 8
            os.close(told.stderr_fd)
            for name, text in (("reads", b"still here\n"), ("talks", b"me\n")):
                stdin = await h.runtime.attach_stdin(name)
                os.write(stdin, text)
                os.close(stdin)
            await h.runtime.close_stdin("reads")  # what talks has ended
            assert (await h.exit("reads")).code == 0
            assert h.log_text("reads") == "still here\n"
            assert (await h.exit("talks")).code == 5
            assert "got me" in h.log_text("talks")
            await h.runtime.kill("dies", signal.SIGKILL)
            assert (await h.exit("dies")).code == 137
            await h.start("new", ["sh", "-c", "ulimit -n; exit 3"])
            assert (await h.exit("new")).code == 3
            await replaced(h, before, another)
            await h.start("old", ["true"])  # and once more, with what the new code has started
            await upgrade(h, installed_code())
            assert (await h.runtime.tasks())[-1].task_id == "old"

    asyncio.run(go())


def test_new_tasks_get_the_limits_that_they_got_before(rootfs: str, another: Code) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sh", "-c", "ulimit -n; ulimit -Hn"])
            await h.exit("a")
            await upgrade(h, another)
            await h.start("b", ["sh", "-c", "ulimit -n; ulimit -Hn"])
            await h.exit("b")
            assert h.log_text("b") == h.log_text("a")

    asyncio.run(go())


@pytest.mark.parametrize(
    ("file", "text"),
    [("supervisor/supervisor.py", "import nonsense"), ("supervisor/handover.py", "_FORMAT = 1000")],
)
def test_code_that_cannot_take_over_leaves_everything_as_it_is(
    rootfs: str, tmp_path: Path, file: str, text: str
) -> None:
    """New code that cannot be imported, and new code that does not understand what it would be handed."""
    another = copied(tmp_path / "next", file, text)

    async def go() -> None:
        async with harness(rootfs) as h:
            ours = await version(h.runtime)
            await h.start("counts", ["sh", "-c", COUNT])
            before = h.supervisor_pids()
            await upgrade(h, another)
            assert await version(h.runtime) == ours
            assert h.supervisor_pids() == before
            assert await exit_codes(h, ["counts"]) == [42]
            assert h.log_text("counts") == EXPECTED
            with pytest.raises(InternalError, match=r"fails its check with 1: see supervisor\.log"):
                await h.runtime._once("upgrade", fields(another), fds=(os.open(sys.executable, os.O_RDONLY),))

    asyncio.run(go())


def test_code_that_hangs_in_its_check_is_given_up(rootfs: str, tmp_path: Path) -> None:
    impatient = copied(tmp_path / "impatient", "supervisor/upgrade.py", "_CHECK_LIMIT_S = 0.5")
    hanging = copied(tmp_path / "hanging", "supervisor/supervisor.py", "time.sleep(1000)")

    async def go() -> None:
        async with harness(rootfs) as h:
            await upgrade(h, impatient)
            assert await version(h.runtime) == impatient.version
            fd = os.open(os.path.realpath(sys.executable), os.O_RDONLY)
            for _ in range(2):
                with pytest.raises(InternalError, match="fails its check with 137"):
                    await h.runtime._once("upgrade", fields(hanging), fds=(fd,))
                assert "check" not in h.supervisor_pids()
            os.close(fd)
            await h.start("a", ["sh", "-c", "exit 4"])
            assert (await h.exit("a")).code == 4

    asyncio.run(go())


def fields(code: Code) -> dict[str, Any]:
    return {"folder": code.folder, "executable": code.executable, "version": code.version}


def test_an_interpreter_that_is_none_leaves_everything_as_it_is(rootfs: str, another: Code) -> None:
    async def go() -> None:
        async with harness(rootfs) as h:
            fd = os.open("/etc/passwd", os.O_RDONLY)
            with pytest.raises(InternalError, match="cannot run the new supervisor"):
                await h.runtime._once("upgrade", fields(another), fds=(fd,))
            os.close(fd)
            await h.start("a", ["sh", "-c", "exit 4"])
            assert (await h.exit("a")).code == 4

    asyncio.run(go())


def test_starts_that_are_under_way_end_first(rootfs: str, another: Code) -> None:
    """Requests that come while the supervisor waits for them, or changes, are served by the new code."""

    async def go() -> None:
        async with harness(rootfs) as h:
            upgrading: asyncio.Task[Any] | None = None
            fd = os.open(os.path.realpath(sys.executable), os.O_RDONLY)
            for number in range(60):
                starts = [
                    asyncio.create_task(h.start(f"t{number}-{n}", ["sh", "-c", f"echo {n}; exit {n}"]))
                    for n in range(3)
                ]
                if number == 5:
                    upgrading = asyncio.create_task(h.runtime._once("upgrade", fields(another), fds=(fd,)))
                await asyncio.gather(*starts)
                for n in range(3):
                    assert (await h.exit(f"t{number}-{n}")).code == n
                    assert h.log_text(f"t{number}-{n}") == f"{n}\n"
                if upgrading is not None and upgrading.done() and number > 8:
                    break
            os.close(fd)
            assert upgrading is not None
            assert (await upgrading)[0]["version"] == another.version
            assert await version(h.runtime) == another.version

    asyncio.run(go())


@pytest.mark.parametrize("victim", ["supervisor", "log-writer", "janitor", "check"])
def test_whoever_is_killed_over_it(rootfs: str, another: Code, victim: str) -> None:
    """At any moment of the upgrade: the containers go on, and their log and exit codes are right."""

    async def go() -> None:
        async with harness(rootfs) as h:
            for round_ in range(2):
                names = [f"c{round_}-{n}" for n in range(5)]
                for name in names:
                    await h.start(name, ["sh", "-c", COUNT])
                code = another if round_ % 2 == 0 else installed_code()
                upgrading = asyncio.create_task(upgrade(h, code))
                await asyncio.sleep(random.uniform(0, 0.3))  # noqa: S311
                pid = h.supervisor_pids().get(victim)
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                await upgrading
                assert await exit_codes(h, names) == [42] * 5
                assert [h.log_text(name) for name in names] == [EXPECTED] * 5

    asyncio.run(go())


def test_what_is_known_of_a_task_stays_known(rootfs: str, another: Code) -> None:
    """Whether a nursery makes its execs hangs on who has ever been in it: see `corten.supervisor.seals`."""

    async def shares(h: Any, name: str, rights: list[str]) -> bool:
        document = json.loads(shell("a", name, "exit 3").process)
        document["capabilities"] = {"bounding": rights}
        await h.runtime.exec(ExecRequest(task_id="a", exec_id=name, process=json.dumps(document).encode()))
        assert (await h.exit("a", name)).code == 3
        return "nursery" in h.supervisor_pids()

    async def go() -> None:
        async with harness(rootfs) as h:
            await h.start("a", ["sleep", "100"])
            await upgrade(h, another)
            assert await shares(h, "e1", [])
            assert await shares(h, "e2", ["CAP_SYS_PTRACE"])  # it is still there
            await upgrade(h, installed_code())
            assert not await shares(h, "e3", [])

    asyncio.run(go())


async def exit_codes(h: Any, names: list[str]) -> list[int]:
    """As the engine learns them: whoever was killed may have been the one to tell."""
    while True:
        ended = {task.task_id: task.exit.code for task in await h.runtime.tasks() if task.exit is not None}
        if set(names) <= ended.keys():
            return [ended[name] for name in names]
        await asyncio.sleep(0.02)
