"""libc by ctypes: declared once, errno checked, usable in a raw clone3(2) child.

PyDLL (not CDLL) keeps the GIL across calls: twice as cheap per call, and legal in a child made by a
raw clone, where no other thread exists that could hand the GIL back. Calls that may block for long
must not go through here.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

libc = ctypes.PyDLL(None, use_errno=True)

_machine = os.uname().machine

# Numbers from the kernel's syscall tables; from 424 on they are the same on every architecture.
_NUMBERS_BY_MACHINE = {
    "x86_64": {
        "pivot_root": 155,
        "capset": 126,
        "capget": 125,
        "seccomp": 317,
        "bpf": 321,
        "mount": 165,
        "rt_sigaction": 13,
        "keyctl": 250,
    },
    "aarch64": {
        "pivot_root": 41,
        "capset": 91,
        "capget": 90,
        "seccomp": 277,
        "bpf": 280,
        "mount": 40,
        "rt_sigaction": 134,
        "keyctl": 219,
    },
}
if _machine not in _NUMBERS_BY_MACHINE:
    raise OSError(38, "Corten does not know this machine's system call numbers", _machine)
NR_PIVOT_ROOT: int = _NUMBERS_BY_MACHINE[_machine]["pivot_root"]
NR_CAPSET: int = _NUMBERS_BY_MACHINE[_machine]["capset"]
NR_CAPGET: int = _NUMBERS_BY_MACHINE[_machine]["capget"]
NR_SECCOMP: int = _NUMBERS_BY_MACHINE[_machine]["seccomp"]
NR_BPF: int = _NUMBERS_BY_MACHINE[_machine]["bpf"]
NR_RT_SIGACTION: int = _NUMBERS_BY_MACHINE[_machine]["rt_sigaction"]
NR_KEYCTL: int = _NUMBERS_BY_MACHINE[_machine]["keyctl"]
NR_PIDFD_SEND_SIGNAL = 424
NR_OPEN_TREE = 428
NR_MOVE_MOUNT = 429
NR_FSOPEN = 430
NR_FSCONFIG = 431
NR_FSMOUNT = 432
NR_PIDFD_OPEN = 434
NR_CLONE3 = 435
NR_CLOSE_RANGE = 436
NR_OPENAT2 = 437
NR_MOUNT_SETATTR = 442
NR_QUOTACTL_FD = 443

_syscall = libc.syscall
_syscall.restype = ctypes.c_long


def fail(what: str | bytes = "") -> NoReturn:
    """Raise the OSError for the errno that ctypes kept from the last call."""
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), os.fsdecode(what))


def check(result: int, what: str | bytes = "") -> int:
    """`result` of a C call if it is not negative; otherwise raise OSError with errno and `what`."""
    if result < 0:
        fail(what)
    return result


def syscall(number: int, *args: Any, what: str | bytes = "") -> int:
    """syscall(2). Arguments are ints, bytes, None or ctypes objects; wide ints must be ctypes-wrapped."""
    return check(int(_syscall(ctypes.c_long(number), *args)), what)


_prctl = libc.prctl
_prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2) with integer arguments."""
    return check(_prctl(option, arg2, arg3, arg4, arg5), "prctl")


def set_process_name(name: str) -> None:
    """Set the comm of the calling thread (15 bytes; what `ps -o comm` shows)."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(text))
