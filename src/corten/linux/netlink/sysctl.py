"""The net.* sysctls of the calling process's network namespace, through /proc/sys/net.

Source: Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import os


def read(path: str) -> str:
    """The value of net/`path`, e.g. "ipv4/ip_forward". Raises OSError."""
    with open(f"/proc/sys/net/{path}", encoding="ascii") as file:
        return file.read().strip()


def write(path: str, value: str) -> None:
    """Set net/`path`. Raises OSError (EROFS inside most containers)."""
    with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
        file.write(value)


def exists(path: str) -> bool:
    """Whether this kernel has net/`path` (some come with modules)."""
    return os.access(f"/proc/sys/net/{path}", os.F_OK)


def local_port_range() -> tuple[int, int]:
    """First and last port that the kernel gives to those who ask for any."""
    first, last = read("ipv4/ip_local_port_range").split()
    return int(first), int(last)


def boot_id() -> str:
    """What identifies this boot of the machine (random(4)). Raises OSError."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
