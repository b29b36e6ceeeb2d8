"""A start that has to wait for the janitor."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from corten.supervisor import starts
from corten.supervisor.peers import Peer
from corten.supervisor.starting import Starting

REQUEST = {"n": 3, "id": "t", "spec": {"linux": {"cgroupsPath": "/t"}}, "log": {}}


def test_what_goes_wrong_after_the_wait_is_answered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors, say: whoever wanted it would wait for ever."""
    waiting: list[Callable[[], None]] = []
    reported: list[BaseException] = []
    answers: list[dict[str, Any]] = []

    class Asking(Peer):
        __slots__ = ()
        gone = False

        def __init__(self) -> None:
            self._loop = SimpleNamespace(on_error=reported.append)  # type: ignore[assignment]

        def answer(self, request: dict[str, Any], result: dict[str, Any], fds: object = ()) -> None:
            answers.append({"n": request["n"], **result})

    def stdio(**options: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(starts, "Stdio", stdio)
    supervisor = SimpleNamespace(
        loop=None,
        tasks={},
        null_fd=-1,
        cgroups=SimpleNamespace(version="v2"),
        nursery=None,
        when_clean=lambda cgroup, then: waiting.append(then),
    )
    given = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    Starting(supervisor).start(Asking(), {**REQUEST, "piped": True}, list(given))  # type: ignore[arg-type]
    waiting.pop()()
    (answer,) = answers
    assert answer["n"] == 3
    assert "Too many open files" in answer["error"]["message"]
    assert len(reported) == 1
    for fd in given:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_pipes_that_are_too_many_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [1]
    made: list[int] = []
    make = os.pipe2

    def pipe2(flags: int) -> tuple[int, int]:
        if not left:
            raise OSError(24, "Too many open files")
        left.pop()
        made.extend(make(flags))
        return made[0], made[1]

    monkeypatch.setattr(os, "pipe2", pipe2)
    null = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(OSError, match="Too many"):
        starts.Stdio(stdin=True, stdout=True, stderr=True, null_fd=null)
    for fd in made:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    os.close(null)
