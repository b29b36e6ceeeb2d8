"""Namespaces: namespaces(7), unshare(2), setns(2), user_namespaces(7)."""

from __future__ import annotations

import ctypes
import errno
import os

from corten.linux.syscalls import check, libc

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# OCI runtime-spec namespace type -> (clone flag, name under /proc/PID/ns)
TYPES: dict[str, tuple[int, str]] = {
    "pid": (CLONE_NEWPID, "pid"),
    "network": (CLONE_NEWNET, "net"),
    "mount": (CLONE_NEWNS, "mnt"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "user": (CLONE_NEWUSER, "user"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "time": (CLONE_NEWTIME, "time"),
}

_unshare = libc.unshare
_unshare.argtypes = [ctypes.c_int]
_setns = libc.setns
_setns.argtypes = [ctypes.c_int, ctypes.c_int]
_sethostname = libc.sethostname
_sethostname.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
_setdomainname = libc.setdomainname
_setdomainname.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def unshare(flags: int) -> None:
    """Put the calling thread into new namespaces. NEWNS and NEWUSER fail with other threads alive."""
    check(_unshare(flags), "unshare")


def setns(fd: int, nstype: int = 0) -> None:
    """Enter the namespace `fd` refers to, or with a pidfd all those in `nstype` at once (Linux 5.8)."""
    check(_setns(fd, nstype), "setns")


def open_namespace(pid: int | str, name: str) -> int:
    """An fd for /proc/PID/ns/NAME (name as in that directory). Keeps the namespace alive."""
    return os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)


def open_mount_namespace(pid: int, option: str) -> int | None:
    """The mount namespace of a process, if something in it was mounted with `option` (proc_pid_mountinfo(5)).

    So a pid that was given to another process meanwhile does no harm: None then, and if the process has gone.
    """
    escaped = "".join(f"\\{ord(c):03o}" if c in ", \t\n\\" else c for c in option)
    try:
        process = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # All of it through one directory, which stands for one process however its number is used later.
        mountinfo = os.open("mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        with open(mountinfo, "rb") as file:
            options = {each for line in file for each in line.split()[-1].split(b",")}
        if os.fsencode(escaped) not in options:
            return None
        return os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    except (FileNotFoundError, ProcessLookupError):
        return None
    finally:
        os.close(process)


def open_namespace_of_cgroup(pid: int, name: str, mark: str) -> int:
    """As `open_namespace`, for a process that has `mark` (a container's id) in the name of its cgroup.

    So a pid that was given to another process meanwhile does no harm. Raises OSError if it is another one,
    or gone.
    """
    process = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process), encoding="utf-8") as file:
            if mark not in file.read():
                raise ProcessLookupError(errno.ESRCH, "the process is not of this container", str(pid))
        return os.open(f"ns/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    finally:
        os.close(process)


def sethostname(name: str) -> None:
    """sethostname(2) in the current UTS namespace."""
    data = os.fsencode(name)
    check(_sethostname(data, len(data)), "sethostname")


def setdomainname(name: str) -> None:
    """setdomainname(2) in the current UTS namespace."""
    data = os.fsencode(name)
    check(_setdomainname(data, len(data)), "setdomainname")


def write_id_map(pid: int, kind: str, mappings: list[dict[str, int]]) -> None:
    """Write /proc/PID/{uid,gid}_map. `mappings`: OCI {containerID, hostID, size}; user_namespaces(7)."""
    text = "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings)
    fd = os.open(f"/proc/{pid}/{kind}_map", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())  # the kernel takes the whole map in one write
    finally:
        os.close(fd)
