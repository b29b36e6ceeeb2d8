"""What supervisor, log writer and janitor do alike as processes."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback

from corten.linux import mounts
from corten.linux.process import default_signals
from corten.linux.syscalls import set_process_name


def code_version() -> str:
    """Which code this process runs, in the words of the engine that it came with (`runtimes.launcher`)."""
    return sys.argv[3] if len(sys.argv) > 3 else ""


def become_daemon(name: str) -> None:
    """Take a name for ps and ignore the signals a terminal or an init system sends to process groups.

    These processes end by request or by SIGKILL: containers and their output hang on them.
    """
    set_process_name(name)
    default_signals()  # containers inherit what we ignore without knowing
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)


def raise_nofile() -> tuple[int, int]:
    """About five descriptors a task: take what the hard limit allows. Returns the limits before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def open_null() -> int:
    """/dev/null for containers' stdio: by it even their root cannot chmod or chown the host's."""
    null = mounts.open_readonly("/dev/null")
    try:
        return os.open(f"/proc/self/fd/{null}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(null)


def report(error: BaseException) -> None:
    """An error of ours: to stderr, which the engine has pointed at a log file."""
    traceback.print_exception(error, file=sys.stderr)
    sys.stderr.flush()
