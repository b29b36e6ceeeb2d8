"""What the machine is and what its kernel can do, for `docker info`."""

from __future__ import annotations

import functools
import os


class HostSupport:
    """Controllers of the kernel's cgroups, and what Docker warns about when they are missing."""

    def __init__(self) -> None:
        self.cgroup_version = "2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "1"
        self._controllers = self._find_controllers()

    def _find_controllers(self) -> frozenset[str]:
        if self.cgroup_version == "2":
            return frozenset(_read("/sys/fs/cgroup/cgroup.controllers").split())
        lines = _read("/proc/mounts").splitlines()
        mounted = [fields[3] for line in lines if (fields := line.split())[2] == "cgroup"]
        return frozenset(word for options in mounted for word in options.split(","))

    def has(self, controller: str) -> bool:
        """Whether limits of this controller work."""
        return controller in self._controllers

    @property
    def swap_limit(self) -> bool:
        """Whether memory and swap can be limited together."""
        if self.cgroup_version == "2":
            return self.has("memory")
        return os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")

    @staticmethod
    def ip_forward() -> bool:
        """Whether the kernel forwards IPv4."""
        return _read("/proc/sys/net/ipv4/ip_forward").strip() == "1"

    @staticmethod
    def file_system(path: str) -> str:
        """Type of the file system that holds `path`: the longest mount point that is a prefix of it."""
        best, kind = "", "unknown"
        for line in _read("/proc/mounts").splitlines():
            fields = line.split()
            point = fields[1].rstrip("/") + "/"
            if (path.rstrip("/") + "/").startswith(point) and len(point) >= len(best):
                best, kind = point, fields[2]
        return "extfs" if kind in ("ext2", "ext3", "ext4") else kind

    def warnings(self) -> list[str]:
        """As dockerd words them."""
        found = []
        if not self.has("memory"):
            found.append("WARNING: No memory limit support")
        elif not self.swap_limit:
            found.append("WARNING: No swap limit support")
        if not self.has("cpu"):
            found += ["WARNING: No cpu cfs quota support", "WARNING: No cpu cfs period support"]
            found.append("WARNING: No cpu shares support")
        if not self.has("cpuset"):
            found.append("WARNING: No cpuset support")
        if not self.has("pids"):
            found.append("WARNING: No pids limit support")
        if not self.ip_forward():
            found.append("WARNING: IPv4 forwarding is disabled")
        return found


@functools.cache
def operating_system() -> tuple[str, str]:
    """(PRETTY_NAME, VERSION_ID) of os-release(5)."""
    values = {}
    for line in (_read("/etc/os-release") or _read("/usr/lib/os-release")).splitlines():
        name, equals, value = line.partition("=")
        if equals:
            values[name] = value.strip("\"'")
    return values.get("PRETTY_NAME", "Linux"), values.get("VERSION_ID", "")


def cpu_model_count() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
