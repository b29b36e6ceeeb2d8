"""Which thread gets the processor first."""

from __future__ import annotations

import os


def prefer_this_thread(nice: int) -> None:
    """Give the calling thread a negative nice value, which nothing that it starts has: thread or process.

    Without effect where it is not allowed (CAP_SYS_NICE), and where somebody has decided already: what is
    started gets 0, which they would not have wanted. Sources: sched(7), "Resetting scheduling policy for
    child processes"; setpriority(2), BUGS: on Linux each thread has a nice value of its own.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER or os.getpriority(os.PRIO_PROCESS, 0) != 0:
        return
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except PermissionError:  # EACCES as well as EPERM
        pass
