"""Starting a supervisor that owes nothing to the engine that starts it."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from dataclasses import dataclass

import corten
from corten.linux import mounts

_PACKAGE = os.path.dirname(os.path.abspath(corten.__file__))

# What containers get unless they are given a limit: not what the engine takes for itself later.
_INHERITED_NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)


@dataclass(frozen=True, slots=True)
class Code:
    """What a supervisor is to run: the package's folder, by which interpreter, and what to call the two.

    Processes whose `version` is another one's are replaced: what they run may be gone from the disk.
    """

    package: str
    executable: str
    version: str

    @property
    def folder(self) -> str:
        """What the interpreter is given to run."""
        return os.path.join(self.package, "supervisor")


def installed_code(package: str = _PACKAGE) -> Code:
    """The code that this engine is a part of, as it is on disk now.

    Files count by size and time, not by what is in them: a hundred stat(2) are a millisecond, and a needless
    upgrade costs nobody anything.
    """
    seen = hashlib.sha256(f"{package}\0{sys.executable}\0{sys.version}".encode())
    for part in ("linux", "supervisor", "task", "wire"):
        for folder, folders, names in os.walk(os.path.join(package, part)):
            folders.sort()
            for name in sorted(names):
                if name.endswith(".py"):
                    status = os.stat(os.path.join(folder, name))
                    seen.update(f"{folder}/{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return Code(package, sys.executable, seen.hexdigest()[:16])


def open_readonly_interpreter() -> int:
    """An fd of our Python interpreter behind a read-only bind mount that nobody else sees.

    A container's init is the interpreter until it calls execve, and /proc/PID/exe of a running process
    can be opened: through this mount never for writing (CVE-2019-5736). The mount is detached; it lives
    as long as a process runs from it.
    """
    return mounts.open_readonly(os.path.realpath(sys.executable))


def spawn_supervisor(exec_root: str, code: Code) -> int:
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
            [code.executable, "-I", "-S", code.folder, "supervisor", exec_root, code.version],
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
