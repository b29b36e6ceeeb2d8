"""Containers that lie in wait for processes which share memory with one of the host: execs, and others' inits.

None of those ever comes to execve: they are the host's until their end, and whoever is reached is reached there.
"""

import os

import pytest

from corten.snapshots.tar_reader import TarEntry

_EXECS = 60
_HAS_NURSERY = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")  # with cgroup v2 everything is forked
_STARTS = 30
_GARBAGE = (TarEntry(b"bin/garbage", mode=0o755), b"\x7fELF, but no program")


def lie_in_wait(attacker, reach, *, lurker="", user="", caps=()):
    """Who was tried to be reached, and who was, by name and how. lurker, user: as whom it waits, they come."""
    host = {"SecurityOpt": ["seccomp=unconfined"], "CapAdd": list(caps)}
    container = attacker.create(attacker.image(reach, _GARBAGE), "reach", User=lurker, host=host)
    assert attacker.start(container)[0] == 204
    for number in range(_EXECS):
        attacker.exec(container, "garbage" if number % 2 else "not there", User=user)
    said = [line.split() for line in attacker.docker("logs", container).stdout.splitlines()]
    attacker.remove(container)
    return {line[1] for line in said if line[0] == "tried"}, {
        tuple(line[1:]) for line in said if line[0] == "reached"
    }


@pytest.mark.parametrize(("lurker", "user"), [("", ""), ("guest", "guest"), ("", "guest"), ("guest", "")])
def test_nobody_is_reached_on_his_way(attacker, reach, lurker, user):
    tried, reached = lie_in_wait(attacker, reach, lurker=lurker, user=user)
    assert ("corten-nursery" in tried) == _HAS_NURSERY
    assert not reached


def test_who_is_reached_by_rights_shares_no_memory(attacker, reach):
    tried, reached = lie_in_wait(attacker, reach, caps=["SYS_PTRACE"])
    assert {"mem", "process_vm_writev", "ptrace", "exe"} <= {how for _, how in reached}
    assert "corten-nursery" not in tried


@pytest.mark.parametrize("lurker", ["", "guest"])
def test_no_init_is_reached_on_its_way_among_the_hosts_processes(attacker, reach, lurker):
    host = {"SecurityOpt": ["seccomp=unconfined"], "PidMode": "host"}
    image = attacker.image(reach, _GARBAGE)
    container = attacker.create(image, "reach", "corten-nursery", User=lurker, host=host)
    assert attacker.start(container)[0] == 204
    for _ in range(_STARTS):
        victim = attacker.create(image, "garbage")
        assert attacker.start(victim)[0] != 204
        attacker.remove(victim)
    said = attacker.docker("logs", container).stdout
    attacker.remove(container)
    assert "reached" not in said
    victim = attacker.create(image, "true")
    assert attacker.start(victim)[0] == 204


def test_starts_without_the_memory_for_it_are_answered(attacker, tool):
    image = attacker.image(tool)
    host = {"Memory": 6 << 20, "MemorySwap": 6 << 20}
    for _ in range(5):
        small = attacker.create(image, "tool", "grow", host=host)
        other = attacker.create(image, "sh", "-c", "exit 3")
        assert attacker.start(small)[0] in (204, 400, 500)
        assert attacker.start(other)[0] == 204
        assert attacker.wait(other) == 3


def test_execs_of_a_task_out_of_memory_are_answered(attacker, tool):
    """The kernel may choose who is on his way, and kills with him all who share his memory."""
    image = attacker.image(tool)
    host = {"Memory": 12 << 20, "MemorySwap": 12 << 20}
    hog = attacker.create(image, "sh", "-c", "while :; do tool grow; done", host=host)
    other = attacker.create(image, "sleep", "1000")
    assert (attacker.start(hog)[0], attacker.start(other)[0]) == (204, 204)
    for _ in range(30):
        if attacker.start(hog)[0] == 304:  # else the kernel had chosen its init
            attacker.exec(hog, "true")
        assert attacker.exec(other, "echo", "well") == (200, "well\n")
