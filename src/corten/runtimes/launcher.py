"""Starting a supervisor that owes nothing to the engine that starts it."""

from __future__ import annotations

import os
import resource
import sys

import corten
from corten.linux import mounts

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(corten.__file__)), "supervisor")

# What containers get unless they are given a limit: not what the engine takes for itself later.
_INHERITED_NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)


def open_readonly_interpreter() -> int:
    """An fd of our Python interpreter behind a read-only bind mount that nobody else sees.

    A container's init is the interpreter until it calls execve, and /proc/PID/exe of a running process
    can be opened: through this mount never for writing (CVE-2019-5736). The mount is detached; it lives
    as long as a process runs from it.
    """
    return mounts.open_readonly(os.path.realpath(sys.executable))


def spawn_supervisor(exec_root: str) -> int:
    """Start a supervisor for `exec_root` in a session of its own; returns its pid.

    Its errors go to EXEC_ROOT/supervisor.log. It is not waited for here: it outlives the engine, and an
    engine that lives longer reaps it with the other processes it has spawned.
    """
    os.makedirs(exec_root, 0o700, exist_ok=True)
    log_flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    interpreter = open_readonly_interpreter()
    raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, _INHERITED_NOFILE)
    try:
        return os.posix_spawn(
            f"/proc/self/fd/{interpreter}",
            [sys.executable, "-I", "-S", _FOLDER, "supervisor", exec_root],
            {"PATH": os.defpath, "LANG": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, f"{exec_root}/supervisor.log", log_flags, 0o600),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, raised)
        os.close(interpreter)
