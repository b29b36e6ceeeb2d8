"""Namespaces for an engine under test: nothing it does meets the machine's network, mounts or processes.

Killing the sandbox's first process ends everything in it: engine, supervisor, containers.
"""

import os
import subprocess
import sys
from pathlib import Path

_INIT = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whatever is orphaned here is reaped by the kernel
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.read()  # until whoever made us closes the sandbox, or is gone
"""


class Sandbox:
    """Own pid, mount and network namespaces. `pid` is their init's, as seen from outside."""

    def __init__(self) -> None:
        unshare = ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--net"]
        self._holder = subprocess.Popen(
            [*unshare, sys.executable, "-I", "-S", "-c", _INIT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # util-linux 2.38 complains at every end: "sigprocmask unblock failed"
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError("unshare failed: tests with an engine need root")
        self.pid = child_of(self._holder.pid)
        subprocess.run(self.command("ip", "link", "set", "lo", "up"), check=True)

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs `arguments` inside."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--", *arguments]

    def close(self) -> None:
        """End everything inside."""
        os.kill(self.pid, 9)
        self._holder.communicate()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def child_of(pid: int) -> int:
    """The only child of a process that we started (unshare and nsenter fork)."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def remove_cgroups(name: str) -> None:
    """Remove /NAME and what is below it from every cgroup hierarchy."""
    for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for directory, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                pass  # a process is still on its way out; the directory is empty and harmless
