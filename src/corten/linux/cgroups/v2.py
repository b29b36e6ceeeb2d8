"""cgroup v2: one directory a container; devices by eBPF, killing and freezing by the kernel.

Controllers must be switched on in `cgroup.subtree_control` of every cgroup above; that is done once for
each parent. A parent with controllers on may hold no processes (cgroup-v2.rst "No Internal Process
Constraint"), the root of the machine aside. Where a controller cannot be switched on, because we were
started inside a cgroup that holds processes or got only some delegated, its limits become warnings.
"""

from __future__ import annotations

import errno
import os

from corten.linux import devices
from corten.linux.cgroups import device_program, discarded, files, v2_stats
from corten.linux.cgroups.device_policy import DevicePolicy
from corten.linux.cgroups.steps import at_once
from corten.linux.cgroups.v2_settings import ignored, settings
from corten.linux.inotify import IN_MODIFY, Inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.linux.cgroups.protocol import Resources
    from corten.linux.cgroups.v2_settings import Setting

_MAX_PROGRAMS = 8
_FREEZE_CHECK_S = 0.001
_FREEZE_CHECKS = 2000
_KILL_ROUNDS = 50
_SIGKILL = 9  # importing signal would import enum

# Feature of Docker's info -> controller.
_FEATURES = {
    "MemoryLimit": "memory",
    "CpuCfsPeriod": "cpu",
    "CpuCfsQuota": "cpu",
    "CPUShares": "cpu",
    "CPUSet": "cpuset",
    "PidsLimit": "pids",
    "BlkioWeight": "io",
    "BlkioWeightDevice": "io",
}


class V2Manager:
    """See corten.linux.cgroups.protocol.CgroupManager."""

    version = "v2"

    def __init__(self, root: str) -> None:
        """root: the cgroup2 mount point."""
        self._root = root
        self._parents: set[str] = set()  # made or found, with controllers switched on
        self._programs: dict[bytes, int] = {}

    def create(self, path: str, resources: Resources) -> list[str]:
        """See CgroupManager."""
        files.check_path(path)
        wanted = settings(resources)
        parent = path.rpartition("/")[0]
        try:
            if parent not in self._parents:
                self._make_parent(parent)
            _mkdir(self._root + path)
        except FileNotFoundError:  # somebody removed the parent behind our back
            self._make_parent(parent)
            _mkdir(self._root + path)
        try:
            return self._set(path, wanted, resources, fresh=True)
        except OSError:
            self.remove(path)
            raise

    def apply(self, path: str, resources: Resources) -> list[str]:
        """See CgroupManager."""
        return self._set(path, settings(resources), resources, fresh=False)

    def join_self(self, path: str) -> None:
        """See CgroupManager."""
        with _Directory(self._root + path) as directory:
            files.write(directory, "cgroup.procs", "0")

    def join(self, path: str, pid: int) -> None:
        """See CgroupManager."""
        with _Directory(self._root + path) as directory:
            files.write(directory, "cgroup.procs", str(pid))

    def clone_fd(self, path: str) -> int | None:
        """See CgroupManager."""
        return os.open(self._root + path, files.DIRECTORY)

    def freeze(self, path: str) -> None:
        """See CgroupManager."""
        at_once(self.freezing(path))

    def freezing(self, path: str) -> Iterator[float]:
        """See CgroupManager. `frozen 1` in cgroup.events says that all have stopped."""
        with _Directory(self._root + path) as directory:
            files.write(directory, "cgroup.freeze", "1")
            for _ in range(_FREEZE_CHECKS):
                if files.keyed(files.read(directory, "cgroup.events")).get("frozen") == 1:
                    return
                yield _FREEZE_CHECK_S
            files.write(directory, "cgroup.freeze", "0")
            raise OSError(errno.EBUSY, "cgroup does not freeze", path)

    def frozen(self, path: str) -> bool:
        """See CgroupManager."""
        try:
            with _Directory(self._root + path) as directory:
                return files.read_number(directory, "cgroup.freeze") == 1
        except FileNotFoundError:
            return False

    def thaw(self, path: str) -> None:
        """See CgroupManager."""
        with _Directory(self._root + path) as directory:
            files.write(directory, "cgroup.freeze", "0")

    def kill_all(self, path: str) -> None:
        """See CgroupManager."""
        at_once(self.killing(path))

    def killing(self, path: str) -> Iterator[float]:
        """See CgroupManager: cgroup.kill, or before Linux 5.14 as long as anything appears."""
        try:
            with _Directory(self._root + path) as directory:
                files.write(directory, "cgroup.kill", "1")
                return
        except FileNotFoundError:
            pass  # the file or the cgroup itself
        for _ in range(_KILL_ROUNDS):
            pids = self.pids(path)
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, _SIGKILL)
                except ProcessLookupError:
                    continue
            yield 0.001

    def pids(self, path: str) -> list[int]:
        """See CgroupManager."""
        try:
            with _Directory(self._root + path) as directory:
                return files.tree_pids(directory, ".")
        except FileNotFoundError:
            return []

    def stats(self, path: str) -> dict[str, Any]:
        """See CgroupManager."""
        with _Directory(self._root + path) as directory:
            return {
                "cpu_stats": v2_stats.cpu(directory),
                "memory_stats": v2_stats.memory(directory),
                "blkio_stats": v2_stats.blkio(directory),
                "pids_stats": v2_stats.pids(directory),
            }

    def oom_watch(self, path: str) -> int:
        """See CgroupManager: inotify on memory.events, which the kernel reports as modified."""
        watcher = Inotify()
        try:
            watcher.add(f"{self._root}{path}/memory.events", IN_MODIFY)
        except OSError:
            os.close(watcher.fd)
            raise
        return watcher.fd

    def oom_killed(self, path: str) -> bool:
        """See CgroupManager."""
        try:
            with _Directory(self._root + path) as directory:
                return files.keyed(files.read_or_none(directory, "memory.events")).get("oom_kill", 0) > 0
        except FileNotFoundError:
            return False

    def remove(self, path: str) -> None:
        """See CgroupManager."""
        parent, _, name = path.rpartition("/")
        try:
            with _Directory(self._root + parent) as directory:
                files.remove_tree(directory, name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None

    def exists(self, path: str) -> bool:
        """See CgroupManager."""
        return os.path.isdir(self._root + path)

    def children(self, path: str) -> list[str]:
        """See CgroupManager."""
        try:
            with _Directory(self._root + path) as directory:
                return sorted(files.subdirectories(directory))
        except FileNotFoundError:
            return []

    def hierarchies(self) -> list[tuple[str, str]]:
        """See CgroupManager."""
        return [("", "")]

    def features(self) -> dict[str, bool]:
        """See CgroupManager."""
        with _Directory(self._root) as directory:
            controllers = files.read(directory, "cgroup.controllers").split()
        features = {feature: controller in controllers for feature, controller in _FEATURES.items()}
        features["SwapLimit"] = features["MemoryLimit"] and os.path.exists("/proc/swaps")  # CONFIG_SWAP
        for name in ("KernelMemoryTCP", "OomKillDisable", "MemorySwappiness"):
            features[name] = False  # v1's only
        return features

    def _make_parent(self, parent: str) -> None:
        directory = self._root
        _switch_on_controllers(directory)
        for component in parent.split("/")[1:]:
            directory = f"{directory}/{component}"
            _mkdir(directory)
            _switch_on_controllers(directory)
        self._parents.add(parent)

    def _set(self, path: str, wanted: list[Setting], resources: Resources, *, fresh: bool) -> list[str]:
        warnings = ignored(resources)
        with _Directory(self._root + path) as directory:
            for names, value in wanted:
                if not _set_first(directory, names, value):
                    warnings.append(discarded.sentence(names[0]))
            rules = resources.get("devices")
            if rules is not None:
                policy = DevicePolicy(devices.effective_rules(rules))
                if policy.exceptions or not policy.default_allow or not fresh:
                    device_program.attach(directory, self._program(policy))
        return warnings

    def _program(self, policy: DevicePolicy) -> int:
        """A loaded program for the policy: most containers share one, and loading is what costs."""
        code = device_program.assemble(policy)
        program = self._programs.get(code)
        if program is None:
            if len(self._programs) >= _MAX_PROGRAMS:
                os.close(self._programs.pop(next(iter(self._programs))))
            program = self._programs[code] = device_program.load(code)
        return program


class _Directory:
    """`with _Directory(path) as fd:` closes it at the end (contextlib costs 2 ms of import)."""

    __slots__ = ("_handle",)

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, files.DIRECTORY)

    def __enter__(self) -> int:
        return self._handle

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _mkdir(directory: str) -> None:
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        pass  # left by somebody; limits are set anew


def _set_first(directory: int, names: tuple[str, ...], value: str) -> bool:
    """Write to the first of the files that exists; False if none does."""
    for name in names:
        try:
            files.write(directory, name, value)
        except FileNotFoundError:
            continue
        return True
    return False


def _switch_on_controllers(path: str) -> None:
    """Pass every controller of this cgroup on to those below; one that refuses does not stop the others."""
    with _Directory(path) as directory:
        available = files.read(directory, "cgroup.controllers").split()
        on = files.read(directory, "cgroup.subtree_control").split()
        missing = [f"+{name}" for name in available if name not in on]
        if not missing:
            return
        try:
            files.write(directory, "cgroup.subtree_control", " ".join(missing))
        except OSError:
            for name in missing:
                try:
                    files.write(directory, "cgroup.subtree_control", name)
                except OSError:
                    continue
