"""seccomp(2): arm a compiled filter on the calling process."""

from __future__ import annotations

import ctypes

from corten.linux.syscalls import NR_SECCOMP, syscall

_SET_MODE_FILTER = 1
FLAG_TSYNC = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4
FLAG_WAIT_KILLABLE_RECV = 32


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load(program: bytes, flags: int = FLAG_SPEC_ALLOW) -> None:
    """Install `program`, an array of struct sock_filter, for good: exec and fork inherit it.

    Needs no_new_privs or CAP_SYS_ADMIN: call it before capabilities go, after the bounding set is cut.
    The default flag is runc's: without it kernels before 5.16 switch off speculative store bypass and
    everything runs slower. Raises OSError (EACCES without privilege, EINVAL for a bad program).
    """
    descriptor = _Program(len(program) // 8, program)
    syscall(NR_SECCOMP, _SET_MODE_FILTER, flags, ctypes.byref(descriptor), what="seccomp")
