"""A process under Docker's default filter, on the real kernel."""

import ctypes
import errno
import os
import signal
import socket

import pytest

from corten.linux.capabilities import DOCKER_DEFAULT
from corten.linux.seccomp import load, profile
from corten.linux.seccomp.compiler import compile_filter
from corten.linux.syscalls import PR_SET_NO_NEW_PRIVS, libc, prctl, syscall


def under(program, function):
    """Fork, install `program`, call `function`: (its result as text, wait status)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            load(program)
            os.write(writer, repr(function()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        text = stream.read()
    return text, os.waitpid(pid, 0)[1]


def answer(number, *args):
    """The errno name of a raw call, or "ok"."""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *args)
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]


@pytest.mark.parametrize(
    ("number", "args", "expected"),
    [
        (250, (0, 0, 0), "EPERM"),  # keyctl
        (248, (b"user", b"x", b"x", 1, -2), "EPERM"),  # add_key
        (165, (b"none", b"/", b"tmpfs", 0, None), "EPERM"),  # mount
        (321, (0, None, 0), "EPERM"),  # bpf
        (272, (0x10000000,), "EPERM"),  # unshare a user namespace
        (56, (0x10000000 | 17, None), "EPERM"),  # clone with a new user namespace
        (435, (None, 0), "ENOSYS"),  # clone3: libc falls back to clone
        (471, (), "ENOSYS"),  # newer than the profile
        (135, (ctypes.c_ulong(0xFFFFFFFF),), "ok"),  # personality: query
        (135, (0x0400000,), "EPERM"),  # personality: READ_IMPLIES_EXEC
        (39, (), "ok"),  # getpid
    ],
)
def test_the_default_filter(number, args, expected):
    text, status = under(profile.default_filter(frozenset(DOCKER_DEFAULT)), lambda: answer(number, *args))
    assert (text, status) == (repr(expected), 0)


@pytest.mark.parametrize(
    ("family", "expected"),
    [(socket.AF_INET, "ok"), (socket.AF_UNIX, "ok"), (socket.AF_ALG, "EPERM"), (socket.AF_VSOCK, "EPERM")],
)
def test_sockets_of_dangerous_families_are_refused(family, expected):
    text, _ = under(
        profile.default_filter(frozenset(DOCKER_DEFAULT)),
        lambda: answer(41, int(family), socket.SOCK_STREAM, 0),
    )
    assert text == repr(expected)


def test_threads_and_processes_still_start():
    import subprocess

    program = profile.default_filter(frozenset(DOCKER_DEFAULT))
    text, status = under(program, lambda: subprocess.run(["true"]).returncode)
    assert (text, status) == ("0", 0)


def test_killing_actions_kill():
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    _, status = under(compile_filter(document), os.getppid)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGSYS


def test_a_bad_program_is_an_oserror():
    with pytest.raises(OSError, match="seccomp"):
        load(b"\xff" * 8)
    assert syscall(39) == os.getpid()
