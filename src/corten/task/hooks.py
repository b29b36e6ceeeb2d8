"""OCI hooks: programs run at points of a container's life, with its state as JSON on stdin.

Source: runtime-spec config.md "POSIX-platform Hooks".
"""

from __future__ import annotations

import json
import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run_all(hooks: list[dict[str, Any]], state: dict[str, Any]) -> None:
    """Run hooks in order. Raises OSError(EPERM) for the first that fails or exceeds its timeout."""
    for hook in hooks:
        _run(hook, json.dumps(state).encode())


def _run(hook: dict[str, Any], state: bytes) -> None:
    path: str = hook["path"]
    env = dict(item.split("=", 1) for item in hook.get("env") or () if "=" in item)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            path, hook.get("args") or [path], env, file_actions=[(os.POSIX_SPAWN_DUP2, read_end, 0)]
        )
    except OSError:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    _feed(write_end, state)
    timeout_s = hook.get("timeout") or 0
    pidfd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    ended = poller.poll(timeout_s * 1000 if timeout_s else None)
    if not ended:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ended:
        raise OSError(1, f"hook exceeded its timeout of {timeout_s} s", path)
    if code:
        raise OSError(1, f"hook exited with status {code}", path)


def _feed(fd: int, data: bytes) -> None:
    try:
        os.write(fd, data)  # a state document is far smaller than a pipe
    except BrokenPipeError:
        pass
    finally:
        os.close(fd)
