"""Whose further processes may share memory with a process of the host: nobody's that others could reach."""

from __future__ import annotations

import os
from typing import Any

import pytest

from corten.linux.capabilities import DOCKER_DEFAULT, NAMES
from corten.supervisor import seals
from corten.supervisor.seals import Seals
from corten.supervisor.task import Task

_REACHING = {"CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_PERFMON"}


class _Nursery:
    busy = True
    ended = 0

    def end(self) -> None:
        self.ended += 1


class _World:
    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.nursery = _Nursery()
        self.seals = Seals(self.tasks, self.nursery)  # type: ignore[arg-type]

    def start(
        self, name: str, caps: Any = DOCKER_DEFAULT, *, pid: Any = None, kind: str = "bounding", **how: Any
    ) -> Task:
        """A task whose pid is our own. pid: {"path": ...} of the pid namespace that it joins."""
        task = Task(name, "/", {}, False)
        spec = {"process": _process(caps, kind), "linux": {"namespaces": [{"type": "pid", **(pid or {})}]}}
        self.seals.task_comes(task, spec, restored=how.get("restored", False))
        task.pid = os.getpid()
        self.tasks[name] = task
        return task


def _process(caps: Any, kind: str = "bounding") -> dict[str, Any]:
    return {} if caps is None else {"capabilities": {kind: list(caps)}}


@pytest.fixture(autouse=True)
def suid_dumpable(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    files = {"/proc/sys/fs/suid_dumpable": b"0\n"}
    monkeypatch.setattr(seals, "_read", files.__getitem__)
    return files


def test_dockers_default_rights_do_not_reach() -> None:
    world = _World()
    assert world.seals.allow_sharing(world.start("a"))


@pytest.mark.parametrize("kind", ["bounding", "effective", "permitted", "inheritable", "ambient"])
def test_some_rights_do_in_whatever_set(kind: str) -> None:
    world = _World()
    for name in (*NAMES, "ALL"):
        assert world.start(name, [name], kind=kind).sealed == (name not in {*_REACHING, "ALL"})
    assert not world.start("whatever we have", None).sealed


def test_who_shares_a_pid_namespace_breaks_the_seals_in_it() -> None:
    world = _World()
    there, unknown = world.start("a"), world.start("b")
    unknown.pid = 0
    assert not world.start("c", pid={"path": "/proc/self/ns/pid"}).sealed
    assert (there.sealed, unknown.sealed, world.nursery.ended) == (False, True, 1)


def test_a_namespace_nobody_knows_may_be_anybodys() -> None:
    world = _World()
    world.start("a")
    world.start("b", pid={"path": "/proc/0/ns/pid"})
    assert not [task for task in world.tasks.values() if task.sealed]


def test_restored_and_adopted_tasks_are_not_sealed() -> None:
    assert not _World().start("a", restored=True).sealed
    assert not Task.of(_World().start("a").document()).sealed


def test_a_seal_is_broken_by_an_exec_and_stays_so() -> None:
    world = _World()
    task = world.start("a")
    world.seals.exec_comes(task, _process(DOCKER_DEFAULT))
    assert task.sealed
    world.seals.exec_comes(task, _process(["CAP_SYS_PTRACE"]))
    world.seals.exec_comes(task, _process(DOCKER_DEFAULT))
    assert (task.sealed, world.nursery.ended) == (False, 1)


@pytest.mark.parametrize(
    ("value", "allowed"), [(b"0\n", True), (b"2\n", True), (b"1\n", False), (b"", False)]
)
def test_new_ids_must_not_make_memory_their_users(
    suid_dumpable: dict[str, bytes], value: bytes, allowed: bool
) -> None:
    world = _World()
    suid_dumpable["/proc/sys/fs/suid_dumpable"] = value
    assert world.seals.allow_sharing(world.start("a")) == allowed
