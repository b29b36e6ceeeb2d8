"""What is asked of children by their pidfd."""

from __future__ import annotations

import os
import signal

from corten.linux.process import end, is_stopped


def test_who_has_ended_is_not_stopped() -> None:
    """Whoever asks may not have heard of the end yet."""
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(pidfd)
    os.kill(pid, signal.SIGCONT)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not is_stopped(pidfd)
    end(pid, pidfd)
    os.close(pidfd)
