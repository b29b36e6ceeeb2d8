"""When a supervisor may become another image, and what becomes of it if it cannot."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from corten.supervisor import external, handover
from corten.supervisor.upgrade import Upgrade

REQUEST = {"n": 1, "folder": "/new", "executable": "/python", "version": "2"}


class Supervisor:
    """All that an upgrade sees of one; the check of the new code has gone well."""

    def __init__(self) -> None:
        self.held = False
        self.timers: list[Callable[[], None]] = []
        self.answers: list[dict[str, Any]] = []
        self.relay = SimpleNamespace(bequeathing=False)
        self.companions = {"relay": self.relay}
        self.listener = SimpleNamespace(unanswered=1, hold=self._hold)
        self.loop = SimpleNamespace(after=lambda seconds, callback: self.timers.append(callback))
        self.null_fd, self.exec_root = 0, "/run"

    def _hold(self, held: bool) -> None:
        self.held = held

    def answer(self, request: dict[str, Any], result: dict[str, Any]) -> None:
        self.answers.append(result)

    def upgrade(self, fds: list[int]) -> None:
        Upgrade(self).upgrade(self, REQUEST, fds)  # type: ignore[arg-type]


class Became(Exception):
    """What execve would have done."""


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    def run(
        loop: object,
        argv: object,
        stdio: object,
        on_end: Callable[[int], None],
        executable: str,
        limit_s: float,
    ) -> None:
        made.timers.append(lambda: on_end(0))

    def execv(path: str, argv: object) -> None:
        raise Became

    made = Supervisor()
    monkeypatch.setattr(external, "run", run)
    monkeypatch.setattr(handover, "pack", lambda *_: {})
    monkeypatch.setattr(handover, "descriptors", lambda document: [])
    monkeypatch.setattr(os, "execv", execv)
    return made


@pytest.fixture
def interpreter() -> int:
    """Closed by whoever has it in the end."""
    return os.open("/dev/null", os.O_RDONLY)


def test_an_upgrade_that_fails_in_any_way_lets_requests_be_served(
    supervisor: Supervisor, interpreter: int
) -> None:
    supervisor.upgrade([interpreter])
    supervisor.timers.pop()()
    assert not supervisor.held
    assert "cannot become the new supervisor" in supervisor.answers[0]["error"]["message"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(interpreter)


def test_what_a_leaving_companion_hands_on_goes_to_its_successor_first(
    supervisor: Supervisor, interpreter: int
) -> None:
    supervisor.relay.bequeathing = True
    supervisor.upgrade([interpreter])
    supervisor.timers.pop()()
    assert supervisor.held
    assert supervisor.answers == []
    supervisor.relay.bequeathing = False
    supervisor.timers.pop()()
    assert len(supervisor.answers) == 1


def test_who_cannot_be_described_keeps_no_descriptor(
    supervisor: Supervisor, interpreter: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "pack", lambda *_: {"peers": object()})
    fds = [interpreter]
    with pytest.raises(TypeError):
        supervisor.upgrade(fds)
    assert fds == [interpreter], "whoever has received it closes it"
    os.close(interpreter)
