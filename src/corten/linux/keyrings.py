"""Session keyrings: keyctl(2), session-keyring(7)."""

from __future__ import annotations

import ctypes
import errno

from corten.linux.syscalls import NR_KEYCTL, syscall

_JOIN_SESSION_KEYRING = 1


def leave_session_keyring() -> None:
    """Take an empty session keyring in place of the inherited one, with whatever keys that has.

    A kernel without keyrings has none to leave. Raises OSError.
    """
    try:
        syscall(
            NR_KEYCTL, ctypes.c_int(_JOIN_SESSION_KEYRING), None, what="keyctl(KEYCTL_JOIN_SESSION_KEYRING)"
        )
    except OSError as e:
        if e.errno != errno.ENOSYS:
            raise
