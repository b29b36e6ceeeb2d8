"""What a container reaches through its runtime's descriptors and directories (CVE-2024-21626, CVE-2016-9962).

The supervisor holds hundreds of descriptors: other containers' pipes, directories of the host. None of them
may be open, or be a way to a file, when a program of an image starts.
"""

import threading

from corten.snapshots.tar_reader import TarEntry
from imagefiles import symlink

_NUMBERS = range(3, 64)
_UP = "/.." * 12


def test_only_stdio_is_open(attacker, plain):
    """Many at once, so that a sibling's descriptors would be there to be inherited."""
    containers = [attacker.create(plain, "sleep", "60", OpenStdin=bool(n % 2)) for n in range(12)]
    threads = [threading.Thread(target=attacker.start, args=(c,)) for c in containers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    look = "ls /proc/1/fd; ls /proc/$$/fd; readlink /proc/1/fd/* /proc/$$/fd/*; true"
    for container in containers:
        seen = attacker.exec(container, "sh", "-c", look)[1].split("\n")
        assert [line for line in seen if line.isdigit()] == ["0", "1", "2"] * 2, seen
        assert not [line for line in seen if "socket:" in line or "anon_inode" in line]


def test_working_directory_through_a_descriptor(attacker, plain):
    sleeper = attacker.create(plain, "sleep", "60")
    attacker.start(sleeper)
    for number in _NUMBERS:
        for directory in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
            container = attacker.create(plain, "pwd", WorkingDir=directory)
            assert attacker.start(container)[0] >= 400, directory
            attacker.remove(container)
            output = attacker.exec(sleeper, "sh", "-c", "echo ran", WorkingDir=directory)[1]
            assert "ran" not in output.replace("container process", ""), directory


def test_program_through_a_descriptor(attacker, plain):
    """Close-on-exec does not help here: execve(2) resolves the name first."""
    sleeper = attacker.create(plain, "sleep", "60")
    attacker.start(sleeper)
    for number in _NUMBERS:
        program = f"/proc/self/fd/{number}{_UP}/bin/busybox"
        container = attacker.create(plain, program, "true")
        status, text = attacker.start(container)
        assert status == 400 and ": stat /proc/self/fd/" in text, program
        attacker.remove(container)
        assert ": stat /proc/self/fd/" in attacker.exec(sleeper, program, "echo")[1], program


def test_interpreter_of_a_script_through_a_descriptor(attacker):
    scripts = [
        (
            TarEntry(f"bin/script-{n}".encode(), mode=0o755),
            f"#!/proc/self/fd/{n}{_UP}/bin/busybox sh\n".encode(),
        )
        for n in _NUMBERS
    ]
    image = attacker.image(*scripts)
    for number in _NUMBERS:
        container = attacker.create(image, f"script-{number}")
        status, text = attacker.start(container)
        assert status == 400 and ("no such file" in text or "not a directory" in text), number
        attacker.remove(container)


def test_working_directory_is_inside_the_root(attacker):
    """A link as WORKDIR is followed inside the container's root, as deep as it may climb."""
    image = attacker.image(symlink("work", "../../../../../../../etc"), WorkingDir="/work")
    assert attacker.sh(image, "pwd -P; cat passwd").stdout.startswith("/etc\nroot:x:0:0:root:/root:/bin/sh")
