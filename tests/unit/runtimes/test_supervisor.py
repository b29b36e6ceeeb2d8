"""What the engine makes of a supervisor that dies while it starts a task."""

import asyncio
import time
from typing import Any

import pytest

from corten.errors import InternalError
from corten.runtimes.connection import ConnectionLost
from corten.runtimes.launcher import installed_code
from corten.runtimes.protocol import Exit, LogTarget, TaskRequest
from corten.runtimes.supervisor import SupervisorRuntime

REQUEST = TaskRequest(
    id="a", spec=b'{"linux":{"cgroupsPath":"/a"}}', overlay=None, log=LogTarget(path="/log")
)


def start(tasks: list[dict[str, Any]]) -> tuple[int, list[Exit], list[str]]:
    """The pid, the exits that are told and what else is asked for, if the next supervisor has these tasks."""
    exits: list[Exit] = []
    asked: list[str] = []

    async def once(operation: str, *_: object, **__: object) -> tuple[dict[str, Any], list[int]]:
        asked.append(operation)
        if operation == "start":
            raise ConnectionLost("dead")
        return {"tasks": tasks}, []

    runtime = SupervisorRuntime("/nowhere", "", installed_code())
    runtime._once = once  # type: ignore[method-assign]
    runtime.on_exit(exits.append)
    return asyncio.run(runtime.start(REQUEST)), exits, asked


def task(at_ns: int = 0) -> dict[str, Any]:
    ended = {"exit": {"code": 3, "oom": False, "at_ns": at_ns}} if at_ns else {}
    return {"id": "a", "pid": 5, "cgroup": "/a", **ended}


def test_it_was_started() -> None:
    assert start([task()]) == (5, [], ["start", "tasks"])


def test_it_was_started_and_has_ended() -> None:
    pid, exits, _ = start([task(at_ns=time.time_ns() + 10**12)])
    assert (pid, [each.code for each in exits]) == (5, [3])


@pytest.mark.parametrize("tasks", [[], [task(at_ns=1)]], ids=["nothing", "what ran before"])
def test_there_is_nothing_of_it(tasks: list[dict[str, Any]]) -> None:
    with pytest.raises(InternalError, match="died while starting"):
        start(tasks)
