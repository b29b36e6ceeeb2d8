"""eBPF device programs on the real kernel: a v2 hierarchy exists even on hybrid machines."""

import os

import pytest

from corten.linux import devices
from corten.linux.cgroups import device_program
from corten.linux.cgroups.device_policy import DevicePolicy


def cgroup2_mount():
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if right.startswith("cgroup2 "):
                return left.split(" ")[4]
    return None


MOUNT = cgroup2_mount()
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(MOUNT is None, reason="cgroup2 is mounted nowhere on this machine"),
]


@pytest.fixture
def cgroup():
    path = f"{MOUNT}/corten-cgtest-{os.getpid()}"
    os.mkdir(path)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    yield handle
    os.close(handle)
    os.rmdir(path)


def enforce(cgroup, *rules):
    program = device_program.load(device_program.assemble(DevicePolicy(rules)))
    try:
        device_program.attach(cgroup, program)
    finally:
        os.close(program)


def opens(cgroup):
    """Which devices a process inside can open for reading and writing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with open(
                "cgroup.procs", "w", opener=lambda name, flags: os.open(name, flags, dir_fd=cgroup)
            ) as file:
                file.write("0")
            for name in ("null", "zero", "full"):
                try:
                    os.close(os.open(f"/dev/{name}", os.O_RDWR))
                    os.write(writer, name.encode() + b" ")
                except PermissionError:
                    continue
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        names = stream.read().split()
    os.waitpid(pid, 0)
    return names


def test_programs_pass_the_verifier_and_are_obeyed(cgroup):
    assert opens(cgroup) == ["null", "zero", "full"]
    enforce(cgroup, devices.DENY_ALL, devices.parse_rule("c 1:3 rwm"), devices.parse_rule("c 1:5 r"))
    assert opens(cgroup) == ["null"]


def test_a_program_is_replaced_not_added(cgroup):
    enforce(cgroup, devices.DENY_ALL)
    assert opens(cgroup) == []
    enforce(cgroup, devices.DENY_ALL, devices.parse_rule("c 1:* rwm"))
    assert opens(cgroup) == ["null", "zero", "full"]
    enforce(cgroup, devices.ALLOW_ALL, {"allow": False, "type": "c", "major": 1, "minor": 5, "access": "w"})
    assert opens(cgroup) == ["null", "full"]
    assert len(device_program._query(cgroup)) == 1


def test_the_default_rules_of_a_container(cgroup):
    enforce(cgroup, *devices.effective_rules(list(devices.DOCKER_RULES)))
    assert opens(cgroup) == ["null", "zero", "full"]


def test_a_program_the_verifier_refuses_is_an_oserror():
    with pytest.raises(OSError, match="PROG_LOAD"):
        device_program.load(b"\0" * 8)
