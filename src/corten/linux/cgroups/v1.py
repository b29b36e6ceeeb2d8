"""cgroup v1: a directory per hierarchy and container; hybrid machines count as v1.

Hot path: nine mkdir(2) relative to the hierarchies' roots, which stay open, then one write a limit.
Joining goes through `tasks`, not `cgroup.procs`: the latter waits for an RCU grace period, and a freshly
forked process has one thread anyway.
"""

from __future__ import annotations

import errno
import os

from corten.linux.cgroups import discarded, files, v1_stats
from corten.linux.cgroups.steps import at_once
from corten.linux.cgroups.v1_settings import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.linux.cgroups.protocol import Resources
    from corten.linux.cgroups.v1_settings import Setting

_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
_FREEZE_ATTEMPTS = 500
_KILL_ROUNDS = 10
_SIGKILL = 9  # importing signal would import enum

# Feature of Docker's info -> controller and file that a cgroup below the root has.
_FEATURES = {
    "MemoryLimit": ("memory", "memory.limit_in_bytes"),
    "SwapLimit": ("memory", "memory.memsw.limit_in_bytes"),
    "MemorySwappiness": ("memory", "memory.swappiness"),
    "KernelMemoryTCP": ("memory", "memory.kmem.tcp.limit_in_bytes"),
    "OomKillDisable": ("memory", "memory.oom_control"),
    "CpuCfsPeriod": ("cpu", "cpu.cfs_period_us"),
    "CpuCfsQuota": ("cpu", "cpu.cfs_quota_us"),
    "CPUShares": ("cpu", "cpu.shares"),
    "CPUSet": ("cpuset", "cpuset.cpus"),
    "PidsLimit": ("pids", "tasks"),  # pids.max is not in the root
    "BlkioWeight": ("blkio", "blkio.weight"),
    "BlkioWeightDevice": ("blkio", "blkio.weight_device"),
}


class Hierarchy:
    """One mounted v1 hierarchy: its directory's name, its controllers, where it is mounted."""

    __slots__ = ("controllers", "mount_point", "name", "options", "root")

    def __init__(self, mount_point: str, controllers: tuple[str, ...]) -> None:
        self.mount_point = mount_point
        self.name = mount_point.rpartition("/")[2]
        self.controllers = controllers
        named = controllers[0].startswith("name=")
        self.options = ("none," if named else "") + ",".join(controllers)
        self.root = os.open(mount_point, files.DIRECTORY)


class V1Manager:
    """See corten.linux.cgroups.protocol.CgroupManager."""

    version = "v1"

    def __init__(self, mounts: list[tuple[str, tuple[str, ...]]]) -> None:
        """mounts: (mount point, controllers) of every v1 hierarchy. Raises OSError."""
        self._hierarchies = [Hierarchy(point, controllers) for point, controllers in mounts]
        self._roots = [hierarchy.root for hierarchy in self._hierarchies]
        self._index = {name: i for i, h in enumerate(self._hierarchies) for name in h.controllers}
        self._parents: dict[str, bool] = {}  # made or found -> new cpusets below it come filled

    def create(self, path: str, resources: Resources) -> list[str]:
        """See CgroupManager."""
        files.check_path(path)
        wanted = settings(resources)
        parent, name = path.rpartition("/")[0], path[1:]
        try:
            if parent not in self._parents:
                self._make_parent(parent)
            self._mkdir(name)
        except FileNotFoundError:  # somebody removed the parent behind our back
            self._make_parent(parent)
            self._mkdir(name)
        try:
            if not self._parents[parent]:
                cpusets = self._roots[self._index["cpuset"]]
                _copy_cpuset(cpusets, f"{parent}/"[1:], name + "/")
            return self._set(name, wanted)
        except OSError:
            self.remove(path)
            raise

    def apply(self, path: str, resources: Resources) -> list[str]:
        """See CgroupManager."""
        if not self.exists(path):  # otherwise every file would look like one the kernel does not have
            raise OSError(errno.ENOENT, "no such cgroup", path)
        return self._set(path[1:], settings(resources))

    def join_self(self, path: str) -> None:
        """See CgroupManager."""
        tasks = path[1:] + "/tasks"
        for root in self._roots:
            files.write(root, tasks, "0")

    def join(self, path: str, pid: int) -> None:
        """See CgroupManager."""
        for root in self._roots:
            files.write(root, path[1:] + "/cgroup.procs", str(pid))

    def clone_fd(self, path: str) -> int | None:
        """See CgroupManager: CLONE_INTO_CGROUP knows v2 only."""
        return None

    def freeze(self, path: str) -> None:
        """See CgroupManager."""
        at_once(self.freezing(path))

    def freezing(self, path: str) -> Iterator[float]:
        """See CgroupManager."""
        directory, name = self._one(path, "freezer")
        state = name + "/freezer.state"
        for attempt in range(_FREEZE_ATTEMPTS):
            if attempt % 50 == 0:
                if attempt:  # a task in the middle of vfork or ptrace can block the rest: start again
                    files.write(directory, state, "THAWED")
                files.write(directory, state, "FROZEN")
            if files.read(directory, state) == "FROZEN\n":
                return
            yield 0.001
        files.write(directory, state, "THAWED")
        raise OSError(errno.EBUSY, "cgroup does not freeze", path)

    def frozen(self, path: str) -> bool:
        """See CgroupManager."""
        try:
            directory, name = self._one(path, "freezer")
            return files.read(directory, name + "/freezer.state") != "THAWED\n"
        except FileNotFoundError:
            return False

    def thaw(self, path: str) -> None:
        """See CgroupManager."""
        directory, name = self._one(path, "freezer")
        files.write(directory, name + "/freezer.state", "THAWED")

    def kill_all(self, path: str) -> None:
        """See CgroupManager."""
        at_once(self.killing(path))

    def killing(self, path: str) -> Iterator[float]:
        """See CgroupManager. Frozen while we read, so that nothing forks away from the list."""
        for _ in range(_KILL_ROUNDS):
            if not self.pids(path):
                return
            yield from self._signalling_frozen(path)

    def pids(self, path: str) -> list[int]:
        """See CgroupManager."""
        try:
            root, name = self._one(path, "freezer")
        except FileNotFoundError:
            return []
        return files.tree_pids(root, name)

    def stats(self, path: str) -> dict[str, Any]:
        """See CgroupManager."""
        opened: list[int] = []

        def of(controller: str) -> int | None:
            index = self._index.get(controller)
            if index is None:
                return None
            opened.append(os.open(path[1:], files.DIRECTORY, dir_fd=self._roots[index]))
            return opened[-1]

        try:
            return {
                "cpu_stats": v1_stats.cpu(of("cpu"), of("cpuacct")),
                "memory_stats": v1_stats.memory(of("memory")),
                "blkio_stats": v1_stats.blkio(of("blkio")),
                "pids_stats": v1_stats.pids(of("pids")),
            }
        finally:
            for handle in opened:
                os.close(handle)

    def oom_watch(self, path: str) -> int:
        """See CgroupManager: an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, section 10)."""
        directory, name = self._one(path, "memory")
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = -1
        try:
            control = os.open(name + "/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
            files.write(directory, name + "/cgroup.event_control", f"{event} {control}")
        except OSError:
            os.close(event)
            raise
        finally:
            if control >= 0:
                os.close(control)
        return event

    def oom_killed(self, path: str) -> bool:
        """See CgroupManager."""
        if "memory" not in self._index:
            return False
        directory, name = self._one(path, "memory")
        return files.keyed(files.read_or_none(directory, name + "/memory.oom_control")).get("oom_kill", 0) > 0

    def remove(self, path: str) -> None:
        """See CgroupManager. Every hierarchy is tried; the first error is raised afterwards."""
        failure: OSError | None = None
        for root in self._roots:
            try:
                files.remove_tree(root, path[1:])
            except OSError as error:
                failure = failure or error
        if failure:
            raise OSError(failure.errno, failure.strerror, path)

    def exists(self, path: str) -> bool:
        """See CgroupManager: in any hierarchy."""
        return any(os.path.isdir(h.mount_point + path) for h in self._hierarchies)

    def children(self, path: str) -> list[str]:
        """See CgroupManager: in any hierarchy."""
        names: dict[str, None] = {}
        for hierarchy in self._hierarchies:
            try:
                handle = os.open(hierarchy.mount_point + path, files.DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                names.update(dict.fromkeys(files.subdirectories(handle)))
            finally:
                os.close(handle)
        return sorted(names)

    def hierarchies(self) -> list[tuple[str, str]]:
        """See CgroupManager."""
        return [(hierarchy.name, hierarchy.options) for hierarchy in self._hierarchies]

    def features(self) -> dict[str, bool]:
        """See CgroupManager."""
        return {
            feature: controller in self._index
            and os.path.exists(f"{self._hierarchies[self._index[controller]].mount_point}/{file}")
            for feature, (controller, file) in _FEATURES.items()
        }

    def _one(self, path: str, controller: str) -> tuple[int, str]:
        """The root of one controller's hierarchy, and `path` relative to it."""
        index = self._index.get(controller)
        if index is None:
            raise OSError(errno.ENOENT, f"cgroup controller {controller} is not mounted", path)
        return self._roots[index], path[1:]

    def _make_parent(self, parent: str) -> None:
        """Make `parent` in every hierarchy, and learn whether the kernel fills new cpusets below it."""
        filled = True
        for hierarchy in self._hierarchies:
            if "cpuset" in hierarchy.controllers:
                _make_cpusets(hierarchy.mount_point, parent)
                filled = files.read(hierarchy.root, f"{parent}/cgroup.clone_children"[1:]).strip() == "1"
            else:
                os.makedirs(hierarchy.mount_point + parent, exist_ok=True)
        self._parents[parent] = filled

    def _mkdir(self, name: str) -> None:
        for root in self._roots:
            try:
                os.mkdir(name, 0o755, dir_fd=root)
            except FileExistsError:
                continue  # left by somebody; limits are set anew

    # Limits.

    def _set(self, name: str, wanted: list[Setting]) -> list[str]:
        """Write settings; those that are EINVAL now are tried again after the rest.

        Pairs such as limit and memsw, or period and quota, must never contradict each other on the way
        to their new values: the right order depends on the old ones.
        """
        warnings: list[str] = []
        again = []
        for setting in wanted:
            try:
                self._set_one(name, setting, warnings)
            except OSError as error:
                if error.errno != errno.EINVAL or setting[0] == "devices":
                    raise self._explained(name, setting, error) from None
                again.append(setting)
        for setting in again:
            self._set_one(name, setting, warnings)
        return warnings

    def _set_one(self, name: str, setting: Setting, warnings: list[str]) -> None:
        controller, names, value = setting
        index = self._index.get(controller)
        if index is None:
            warnings.append(discarded.sentence(names[0]))
            return
        for file in names:
            try:
                files.write(self._roots[index], f"{name}/{file}", value)
            except FileNotFoundError:
                continue
            return
        warnings.append(discarded.sentence(names[0]))

    def _explained(self, name: str, setting: Setting, error: OSError) -> OSError:
        """The error; for a memory limit below what is in use, in runc's words."""
        controller, names, value = setting
        if error.errno != errno.EBUSY or names != ("memory.limit_in_bytes",):
            return error
        directory = self._roots[self._index[controller]]
        usage = files.read_number(directory, name + "/memory.usage_in_bytes")
        peak = files.read_number(directory, name + "/memory.max_usage_in_bytes")
        text = f"unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})"
        return OSError(errno.EBUSY, text, name)

    def _signalling_frozen(self, path: str) -> Iterator[float]:
        try:
            yield from self.freezing(path)
        except OSError:
            pass  # killed as they run, then; the next round gets those that escaped
        try:
            for pid in self.pids(path):
                try:
                    os.kill(pid, _SIGKILL)
                except ProcessLookupError:
                    continue
        finally:
            try:
                self.thaw(path)
            except FileNotFoundError:
                pass  # died and removed in between
        yield 0.001


def _make_cpusets(mount_point: str, parent: str) -> None:
    """Make `parent` in the cpuset hierarchy with the CPUs and memory nodes of the one above.

    A cpuset starts empty and takes no processes. In those that we make here cgroup.clone_children fills
    further ones by itself, which spares every container four reads and writes.
    """
    directory = mount_point
    for component in parent.split("/")[1:]:
        directory = f"{directory}/{component}"
        if os.path.isdir(directory):
            continue
        os.mkdir(directory)
        handle = os.open(directory, files.DIRECTORY)
        try:
            files.write(handle, "cgroup.clone_children", "1")
            _copy_cpuset(handle, "../", "")
        finally:
            os.close(handle)


def _copy_cpuset(directory: int, source: str, target: str) -> None:
    """Copy CPUs and memory nodes from `source` to `target` (prefixes relative to `directory`), unless set."""
    for file in _CPUSET_FILES:
        if not files.read(directory, target + file).strip():
            files.write(directory, target + file, files.read(directory, source + file).strip())
