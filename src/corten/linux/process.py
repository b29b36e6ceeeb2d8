"""Making processes: raw clone3(2) with a pidfd, and what its child may need.

A raw clone bypasses glibc's and CPython's fork handlers. That is sound here because the callers are
single-threaded: there is no lock another thread could hold. The child must end in execve or os._exit.
"""

from __future__ import annotations

import ctypes
import os
import signal

from corten.linux.syscalls import NR_CLONE3, NR_CLOSE_RANGE, NR_RT_SIGACTION, _syscall, check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000
CLONE_CLEAR_SIGHAND = 0x100000000


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


# wait(2): for all children, and for those only that give no SIGCHLD at their end (as an int of C).
WALL = 0x40000000
_WCLONE = -0x80000000

_args = _CloneArgs()
_pidfd = ctypes.c_int(-1)
_args_ref = ctypes.byref(_args)
_ARGS_SIZE = ctypes.sizeof(_CloneArgs)
_NR_CLONE3 = ctypes.c_long(NR_CLONE3)


_SIGNALS = tuple(n for n in range(1, 65) if n not in (int(signal.SIGKILL), int(signal.SIGSTOP)))
_NO_SIGNALS = ctypes.create_string_buffer(128)  # sigset_t
_SIG_SETMASK = 2
_sigprocmask = libc.sigprocmask
_sigprocmask.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
_SIG_DFL = ctypes.create_string_buffer(32)  # struct kernel_sigaction, all zero


def clone3(flags: int, *, cgroup_fd: int | None = None, silent: bool = False) -> tuple[int, int]:
    """Fork with clone3(2): (0, -1) in the child, (pid, pidfd) in the parent. The pidfd is close-on-exec.

    `flags`: CLONE_NEW*, CLONE_PARENT; `cgroup_fd`: a cgroup2 directory to be born into (CLONE_INTO_CGROUP).
    silent: without a signal at its end; so are the siblings that it makes (CLONE_PARENT), but only until they
    execve. See `is_silent`.
    """
    _args.flags = flags | CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup_fd is not None else 0)
    _args.pidfd = ctypes.addressof(_pidfd)
    _args.exit_signal = 0 if silent or flags & CLONE_PARENT else 17  # SIGCHLD; a sibling has ours
    _args.cgroup = cgroup_fd if cgroup_fd is not None else 0
    pid = _syscall(_NR_CLONE3, _args_ref, ctypes.c_size_t(_ARGS_SIZE))
    if pid == 0:
        return 0, -1
    check(pid, "clone3")
    return pid, _pidfd.value


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close every fd in first..last; close_range(2), Linux 5.9."""
    syscall(NR_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(0), what="close_range")


def close_all_but(*keep: int) -> None:
    """Close every fd from 3 on that is not in `keep`."""
    first = 3
    for fd in sorted({fd for fd in keep if fd >= 3}):
        if fd > first:
            close_range(first, fd - 1)
        first = fd + 1
    close_range(first)


def default_signals(numbers: Iterable[int] = _SIGNALS) -> None:
    """The default action for these signals, or every one, in a process that needs no handler of Python's.

    By rt_sigaction(2): glibc hides 32 and 33, and posix_spawn(3) makes a child ignore just those.
    """
    for number in numbers:
        syscall(
            NR_RT_SIGACTION, ctypes.c_int(number), _SIG_DFL, None, ctypes.c_size_t(8), what="rt_sigaction"
        )


def unblock_signals() -> None:
    """An empty signal mask, by sigprocmask(2): signal.pthread_sigmask would make enums of its answer."""
    check(_sigprocmask(_SIG_SETMASK, _NO_SIGNALS, None), "sigprocmask")


def end(pid: int, pidfd: int) -> None:
    """Kill and reap a child that no container can get hold of (of others: `corten.supervisor.reaper`)."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, WALL)


def is_silent(pidfd: int) -> bool:
    """Whether a child gives no signal at its end: by execve(2) it gets one, before descriptors are closed."""
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WCLONE)
    except ChildProcessError:
        return False
    return True


def is_stopped(pidfd: int) -> bool:
    """Whether a child has been stopped since this was asked last."""
    try:
        return os.waitid(os.P_PIDFD, pidfd, os.WSTOPPED | os.WNOHANG | WALL) is not None
    except ChildProcessError:  # it has ended, and waits to be waited for
        return False


def ended_with(pidfd: int) -> int:
    """The exit code of a child that has ended, which stays to be reaped.

    Raises ChildProcessError: it is not our child, has not ended, or is traced and not ours to wait for.
    """
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
    if result is None:
        raise ChildProcessError
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def start_time(pid: int) -> int:
    """Clock ticks after boot at which `pid` started: with the pid it names a process for good.

    Source: proc_pid_stat(5), field 22. Raises FileNotFoundError / ProcessLookupError when it is gone.
    """
    return int(_stat(pid)[19])


def _stat(pid: int) -> list[bytes]:
    """Fields of proc_pid_stat(5) from the third on. A bare read: it is on the way of every start."""
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).rpartition(b")")[2].split()
    finally:
        os.close(fd)


def zombie_status(pid: int, started: int | None = None) -> int | None:
    """Wait status of a zombie that we cannot wait for; None if it is none, or another process by now.

    `started`: its `start_time()`; not needed of a child that nobody has reaped. Source: proc_pid_stat(5),
    fields 3, 22 and 52 (needs ptrace access).
    """
    try:
        fields = _stat(pid)
    except OSError:
        return None
    if fields[0] != b"Z" or started not in (None, int(fields[19])):
        return None
    return int(fields[49])


def exit_code(status: int) -> int:
    """Wait status -> 0..255, or 128+n for death by signal n, as shells and Docker count."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
