"""pidfd_open(2), pidfd_send_signal(2), and the exit code of a process that is not our child."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct

pidfd_open = os.pidfd_open
send_signal = signal.pidfd_send_signal

# struct pidfd_info, include/uapi/linux/pidfd.h: u64 mask, cgroupid; u32 pid, tgid, ppid, ruid, rgid,
# euid, egid, suid, sgid, fsuid, fsgid; s32 exit_code (Linux 6.15, PIDFD_INFO_EXIT)
_INFO = struct.Struct("=QQ11Ii")
_PIDFD_INFO_PID = 1 << 0
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = 0xC000FF0B | (_INFO.size << 16)  # _IOWR(0xFF, 11, struct pidfd_info)


def exit_status(pidfd: int) -> int | None:
    """Wait status of the process behind `pidfd`, or None if it still runs (or was not yet reaped).

    Works for processes that are not our children, also after they were reaped. Raises OSError
    (ENOTTY, EINVAL, ESRCH) on kernels without PIDFD_INFO_EXIT (before 6.15).
    """
    buffer = bytearray(_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13)))
    fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    fields = _INFO.unpack(buffer)
    return int(fields[13]) if fields[0] & _PIDFD_INFO_EXIT else None


def has_ended(pidfd: int, within_s: float = 0) -> bool:
    """Whether the process behind `pidfd` is a zombie or gone, now or before so long.

    Source: pidfd_open(2): it polls readable then.
    """
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(within_s * 1000))
