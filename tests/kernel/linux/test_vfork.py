"""Children that share their maker's memory until execve. They are its siblings: so the maker is a child here."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from corten.linux.process import WALL
from corten.linux.vfork import _FUNCTION, LastMade, Unfinished, Vfork


def _from_a_maker(action: Callable[[Vfork, LastMade], Any]) -> Any:
    """What `action` returns in a process of its own, whose children are ours. It also gets who was made last."""
    theirs, ours = os.pipe()
    made = LastMade()
    maker = os.fork()
    if maker == 0:
        try:
            os.write(ours, json.dumps(action(Vfork(made), made)).encode())
        finally:
            os._exit(0)
    os.close(ours)
    with open(theirs) as f:
        text = f.read()
    os.waitpid(maker, 0)
    return json.loads(text), made.pid


def _program(*args: str, **env: str) -> Any:
    return args[0], list(args), {k.encode(): v.encode() for k, v in env.items()}


def test_children_become_their_programs_one_after_the_other() -> None:
    def action(vfork: Vfork, made: LastMade) -> list[int]:
        pids = []
        for code in range(100):
            assert vfork.spawn(partial(_program, "/bin/sh", "-c", "exit $CODE", CODE=str(code))) is None
            pids.append(made.pid)
        return pids

    pids, last = _from_a_maker(action)
    assert last == pids[-1]
    for code, pid in enumerate(pids):
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code


@pytest.mark.parametrize(
    ("program", "error"),
    [
        (("/etc/passwd",), "[Errno 13] Permission denied: '/etc/passwd'"),
        (("/bin/true", "a\0b"), "[Errno 22] Invalid argument: '/bin/true'"),
        ((), "tuple index out of range"),
    ],
)
def test_what_keeps_a_child_from_its_program_is_told(program: tuple[str, ...], error: str) -> None:
    def action(vfork: Vfork, made: LastMade) -> list[Any]:
        return [
            str(vfork.spawn(lambda: _program(*program))),
            made.pid,
            vfork.spawn(lambda: _program("/bin/true")),
        ]

    (said, failed, nothing), fine = _from_a_maker(action)
    assert (said, nothing) == (error, None)
    assert os.waitpid(failed, WALL)[1] and not os.waitpid(fine, 0)[1]


def test_a_child_that_is_killed_on_its_way_is_noticed() -> None:
    def action(vfork: Vfork, made: LastMade) -> str:
        def die() -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

        try:
            vfork.spawn(die)
        except Unfinished:
            return "unfinished"
        return ""

    said, killed = _from_a_maker(action)
    assert said == "unfinished"
    assert os.waitstatus_to_exitcode(os.waitpid(killed, WALL)[1]) == -signal.SIGKILL


def test_a_child_without_memory_even_to_begin_does_not_execute_what_the_one_before_did() -> None:
    """Others may have taken it: prlimit(2) of RLIMIT_AS asks for the same user only."""

    def action(vfork: Vfork, made: LastMade) -> list[int]:
        vfork.spawn(partial(_program, "/bin/sh", "-c", "exit 3"))
        first = made.pid
        vfork._prepare = _FUNCTION(lambda: None)
        vfork.spawn(partial(_program, "/bin/sh", "-c", "exit 4"))
        return [first, made.pid]

    pids, _ = _from_a_maker(action)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, WALL)[1]) for pid in pids] == [3, 1]
