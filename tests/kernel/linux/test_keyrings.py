"""Session keyrings, in a child: leaving one cannot be undone."""

import ctypes
import os

from corten.linux.keyrings import leave_session_keyring
from corten.linux.syscalls import NR_KEYCTL, syscall

_GET_KEYRING_ID = 0
_SESSION = -3


def _session_keyring() -> int:
    return syscall(
        NR_KEYCTL, ctypes.c_int(_GET_KEYRING_ID), ctypes.c_int(_SESSION), ctypes.c_int(1), what="keyctl"
    )


def test_what_the_launcher_had_is_left_behind() -> None:
    child = os.fork()
    if child == 0:
        leave_session_keyring()
        before = _session_keyring()
        leave_session_keyring()
        os._exit(0 if before != _session_keyring() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
