"""Seccomp filters without libseccomp: Docker's profile -> OCI document -> classic BPF -> seccomp(2).

    profile   Docker's template (default.json) resolved for capabilities, machine and kernel
    compiler  an OCI `linux.seccomp` document -> program bytes
    assembler classic BPF instructions and their jumps
    tables    system call names and numbers (syscalls.tbl, made by script/syscall-tables)
    install   the system call that arms a program

The process that becomes a container needs `install` alone; the rest runs once per distinct profile.
"""

from __future__ import annotations

from corten.linux.seccomp.install import load

__all__ = ["load"]
