"""The manager on real cgroups: limits hold, counters count, nothing is left behind.

Runs on whichever version the machine has; tests/vm runs it on v2.
"""

import mmap
import os
import select
import signal
import time

import pytest

from corten.linux import cgroups, devices
from corten.linux.process import clone3

pytestmark = pytest.mark.root
VERSION = cgroups.detect()
only_v1 = pytest.mark.skipif(VERSION != "v1", reason="this machine has no cgroup v1: what is written there")
only_v2 = pytest.mark.skipif(VERSION != "v2", reason="this machine has no cgroup v2: what is written there")

PARENT = f"/corten-cgtest-{os.getpid()}"
MOUNT = "/sys/fs/cgroup"


@pytest.fixture(scope="module")
def manager():
    manager = cgroups.manager()
    yield manager
    manager.remove(PARENT)
    assert not manager.exists(PARENT)


@pytest.fixture
def group(manager, request):
    path = f"{PARENT}/{abs(hash(request.node.name))}"
    yield path
    manager.kill_all(path)
    until(lambda: not manager.pids(path))
    manager.remove(path)
    assert not manager.exists(path)


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def child(manager, path, function):
    """A process inside the cgroup that runs `function` and exits with its result."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            manager.join_self(path)
            code = function() or 0
        finally:
            os._exit(code)
    return pid


def outcome(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def value(controller, path, file):
    directory = f"{MOUNT}/{controller}{path}" if VERSION == "v1" else MOUNT + path
    with open(f"{directory}/{file}") as stream:
        return stream.read().strip()


LIMITS = {
    "memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20},
    "cpu": {"shares": 512, "quota": 150000, "period": 50000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 17},
}


@only_v2
def test_limits_are_what_the_kernel_shows_v2(manager, group):
    assert manager.create(group, LIMITS) == []
    assert value("memory", group, "memory.max") == str(64 << 20)
    assert value("memory", group, "memory.swap.max") == str(64 << 20)
    assert value("memory", group, "memory.low") == str(32 << 20)
    assert value("cpu", group, "cpu.weight") == "59"
    assert value("cpu", group, "cpu.max") == "150000 50000"
    assert value("cpuset", group, "cpuset.cpus") == "0"
    assert value("pids", group, "pids.max") == "17"


@only_v2
def test_limits_of_a_living_cgroup_change_v2(manager, group):
    manager.create(group, LIMITS)
    assert manager.apply(group, {"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}) == []
    assert value("memory", group, "memory.max") == "max"
    assert value("memory", group, "memory.swap.max") == "max"
    assert value("pids", group, "pids.max") == "max"
    assert value("cpu", group, "cpu.max") == "max 50000"
    assert value("cpu", group, "cpu.weight") == "59"
    assert manager.apply(group, {"unified": {"memory.high": "4194304"}}) == []
    assert value("memory", group, "memory.high") == "4194304"


@only_v2
def test_block_io_limits_v2(manager, group):
    """Of the root disk: partitions have no throttles of their own."""
    with open("/sys/block/vda/dev") as file:
        major, minor = map(int, file.read().split(":"))
    device = {"major": major, "minor": minor}
    manager.create(group, {"blockIO": {"throttleReadBpsDevice": [{**device, "rate": 1 << 20}]}})
    assert value("io", group, "io.max") == f"{major}:{minor} rbps=1048576 wbps=max riops=max wiops=max"


@only_v2
def test_processes_are_born_inside_v2(manager, group):
    manager.create(group, {})
    directory = manager.clone_fd(group)
    pid, pidfd = clone3(0, cgroup_fd=directory)
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    os.close(directory)
    os.close(pidfd)
    assert manager.pids(group) == [pid]
    manager.kill_all(group)
    assert outcome(pid) == -signal.SIGKILL


@only_v1
def test_limits_are_what_the_kernel_shows(manager, group):
    warnings = manager.create(group, {**LIMITS, "memory": {**LIMITS["memory"], "swappiness": 10}})
    assert warnings == []
    assert value("memory", group, "memory.limit_in_bytes") == str(64 << 20)
    assert value("memory", group, "memory.memsw.limit_in_bytes") == str(128 << 20)
    assert value("memory", group, "memory.soft_limit_in_bytes") == str(32 << 20)
    assert value("memory", group, "memory.swappiness") == "10"
    assert value("cpu", group, "cpu.shares") == "512"
    assert value("cpu", group, "cpu.cfs_quota_us") == "150000"
    assert value("cpu", group, "cpu.cfs_period_us") == "50000"
    assert value("cpuset", group, "cpuset.cpus") == "0"
    assert value("pids", group, "pids.max") == "17"


@only_v1
def test_limits_of_a_living_cgroup_change_in_any_direction(manager, group):
    manager.create(group, {"memory": {"limit": 64 << 20, "swap": 64 << 20}})
    for limit, swap in ((256 << 20, 512 << 20), (32 << 20, 32 << 20), (128 << 20, -1)):
        assert manager.apply(group, {"memory": {"limit": limit, "swap": swap}}) == []
        assert value("memory", group, "memory.limit_in_bytes") == str(limit)
    for quota, period in ((50000, 100000), (500000, 1000000), (5000, 5000)):
        assert manager.apply(group, {"cpu": {"quota": quota, "period": period}}) == []
        assert value("cpu", group, "cpu.cfs_quota_us") == str(quota)


def test_new_cpusets_can_take_processes(manager, group):
    manager.create(group, {})
    assert outcome(child(manager, group, lambda: 7)) == 7
    if VERSION == "v1":
        assert value("cpuset", group, "cpuset.cpus") == value("cpuset", "", "cpuset.cpus")


def test_a_cgroup_right_below_the_root_works_too(manager):
    path = PARENT + "-top"
    manager.create(path, {})
    assert outcome(child(manager, path, lambda: 7)) == 7
    manager.remove(path)
    assert not manager.exists(path)


def test_pids_limit(manager, group):
    manager.create(group, {"pids": {"limit": 3}})

    def fork_until_it_fails():
        for count in range(10):
            try:
                if os.fork() == 0:
                    time.sleep(30)
                    os._exit(0)
            except BlockingIOError:
                return count
        return 50

    assert outcome(child(manager, group, fork_until_it_fails)) == 2
    assert manager.stats(group)["pids_stats"]["limit"] == 3


def test_out_of_memory(manager, group):
    manager.create(group, {"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    watch = manager.oom_watch(group)
    assert not manager.oom_killed(group)

    def hog():
        with mmap.mmap(-1, 64 << 20) as memory:
            for offset in range(0, 64 << 20, 4096):
                memory[offset] = 1

    assert outcome(child(manager, group, hog)) == -signal.SIGKILL
    assert select.select([watch], [], [], 10)[0] == [watch]
    assert manager.oom_killed(group)
    os.close(watch)


@only_v1
def test_memory_limit_below_usage_is_refused_in_runcs_words(manager, group):
    manager.create(group, {})

    def hold():
        with mmap.mmap(-1, 32 << 20) as memory:
            for offset in range(0, 32 << 20, 4096):
                memory[offset] = 1
            time.sleep(60)

    child(manager, group, hold)
    until(lambda: manager.stats(group)["memory_stats"]["usage"] > 32 << 20)
    with pytest.raises(OSError, match="unable to set memory limit to 1048576 .current usage: "):
        manager.apply(group, {"memory": {"limit": 1 << 20}})


def test_freeze_and_thaw(manager, group):
    manager.create(group, {})
    pid = child(manager, group, lambda: spin())

    def ticks():
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[11])

    until(lambda: ticks() > 1)
    manager.freeze(group)
    before = ticks()
    time.sleep(0.05)
    assert ticks() == before
    manager.thaw(group)
    until(lambda: ticks() > before)


def spin():
    while True:
        pass


def test_kill_all_reaches_nested_and_frozen_processes(manager, group):
    manager.create(group, {})
    if VERSION == "v1":
        manager.create(group + "/below", {})
    else:  # without controllers, as a container may do: with them the upper one could hold no process
        os.mkdir(MOUNT + group + "/below")
    first = child(manager, group, lambda: time.sleep(60))
    second = child(manager, group + "/below", lambda: time.sleep(60))
    until(lambda: sorted(manager.pids(group)) == sorted([first, second]))
    manager.freeze(group)
    manager.kill_all(group)
    assert (outcome(first), outcome(second)) == (-signal.SIGKILL, -signal.SIGKILL)
    until(lambda: manager.pids(group) == [])


def test_removing_what_still_runs_is_busy_and_what_is_gone_is_fine(manager, group):
    manager.create(group, {})
    pid = child(manager, group, lambda: time.sleep(60))
    until(lambda: manager.pids(group) == [pid])
    with pytest.raises(OSError, match="busy"):
        manager.remove(group)
    os.kill(pid, signal.SIGKILL)
    outcome(pid)
    until(lambda: manager.pids(group) == [])
    manager.remove(group)
    manager.remove(group)
    assert manager.pids(group) == []
    assert not manager.oom_killed(group)
    with pytest.raises(FileNotFoundError):
        manager.apply(group, LIMITS)
    manager.remove(PARENT + "-never/was")
    assert not manager.exists(PARENT + "-never")


def test_devices_are_denied_unless_allowed(manager, group):
    manager.create(group, {"devices": [*devices.DOCKER_RULES, devices.parse_rule("c 10:200 r")]})

    def open_as(path, flags=os.O_RDONLY):
        try:
            os.close(os.open(path, flags))
        except PermissionError:
            return "denied"
        return "allowed"

    def probe():
        null, zero = open_as("/dev/null", os.O_RDWR), open_as("/dev/zero")
        os.mknod(
            f"/tmp{group.replace('/', '-')}", 0o20600, os.makedev(1, 1)
        )  # mknod is allowed, opening is not
        try:
            memory = open_as(f"/tmp{group.replace('/', '-')}")
        finally:
            os.unlink(f"/tmp{group.replace('/', '-')}")
        return 0 if (null, zero, memory) == ("allowed", "allowed", "denied") else 1

    assert outcome(child(manager, group, probe)) == 0
    if VERSION == "v1":
        rules = value("devices", group, "devices.list").splitlines()
        assert {"c 1:3 rwm", "c 136:* rwm", "c *:* m", "b *:* m", "c 10:200 r"} <= set(rules)
        assert not any(rule.startswith("a") for rule in rules)


def test_device_rules_of_a_living_cgroup_change(manager, group):
    manager.create(group, {"devices": [devices.DENY_ALL]})

    def kernel_log():
        try:
            os.close(os.open("/dev/kmsg", os.O_RDONLY))
        except PermissionError:
            return 1
        return 0

    assert outcome(child(manager, group, kernel_log)) == 1
    manager.apply(group, {"devices": [devices.DENY_ALL, devices.parse_rule("c 1:11 r")]})
    assert outcome(child(manager, group, kernel_log)) == 0
    manager.apply(group, {"devices": [devices.DENY_ALL]})
    assert outcome(child(manager, group, kernel_log)) == 1
    manager.apply(group, {"devices": [devices.ALLOW_ALL]})
    assert outcome(child(manager, group, kernel_log)) == 0


@only_v1
def test_privileged_containers_may_use_every_device(manager, group):
    manager.create(group, {"devices": [devices.ALLOW_ALL]})
    assert value("devices", group, "devices.list") == "a *:* rwm"


def test_stats_have_dockers_shape(manager, group):
    manager.create(group, {"memory": {"limit": 64 << 20}, "cpu": {"quota": 10000, "period": 10000}})
    child(manager, group, lambda: [bytearray(b"x" * (4 << 20)), spin()])
    until(lambda: manager.stats(group)["cpu_stats"]["cpu_usage"]["total_usage"] > 10_000_000)
    until(lambda: manager.stats(group)["memory_stats"]["usage"] > 4 << 20)
    stats = manager.stats(group)
    assert stats["cpu_stats"]["cpu_usage"]["usage_in_usermode"] >= 0
    assert set(stats["cpu_stats"]["throttling_data"]) == {"periods", "throttled_periods", "throttled_time"}
    assert stats["memory_stats"]["limit"] == 64 << 20
    assert 4 << 20 < stats["memory_stats"]["usage"] <= 64 << 20
    assert stats["pids_stats"]["current"] == 1
    if VERSION == "v1":
        assert sum(stats["cpu_stats"]["cpu_usage"]["percpu_usage"]) >= 10_000_000
        assert stats["memory_stats"]["usage"] <= stats["memory_stats"]["max_usage"]
        assert "total_inactive_file" in stats["memory_stats"]["stats"]
        assert stats["pids_stats"] == {"current": 1}
    else:
        assert "inactive_file" in stats["memory_stats"]["stats"]
        assert stats["pids_stats"]["limit"] == 2**64 - 1
    assert stats["blkio_stats"]["io_service_bytes_recursive"] is not None


@only_v1
def test_what_the_kernel_lacks_is_a_warning(manager, group):
    warnings = manager.create(group, {"hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}]})
    assert len(warnings) == 1
    assert "hugetlb" in warnings[0]


def test_a_bad_limit_is_an_error_and_leaves_nothing(manager, group):
    with pytest.raises(OSError, match="cpuset.cpus"):
        manager.create(group, {"cpu": {"cpus": "nonsense"}})
    assert not manager.exists(group)


def test_a_parent_removed_behind_our_back_is_made_again(manager):
    path = f"{PARENT}-gone/one"
    manager.create(path, {})
    manager.remove(f"{PARENT}-gone")
    manager.create(path, {})
    assert manager.children(f"{PARENT}-gone") == ["one"]
    assert outcome(child(manager, path, lambda: 7)) == 7
    manager.remove(f"{PARENT}-gone")
    assert not manager.exists(f"{PARENT}-gone")


@only_v1
def test_hierarchies_and_features(manager):
    assert ("memory", "memory") in manager.hierarchies()
    assert all(os.path.isdir(f"{MOUNT}/{name}") for name, _ in manager.hierarchies())
    assert manager.features()["MemoryLimit"]
    assert manager.clone_fd(PARENT) is None


@only_v2
def test_hierarchies_and_features_v2(manager):
    assert manager.hierarchies() == [("", "")]
    assert manager.features()["MemoryLimit"] and manager.features()["PidsLimit"]


def test_moving_another_process_in(manager, group):
    manager.create(group, {})
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    manager.join(group, pid)
    assert manager.pids(group) == [pid]
    assert not manager.frozen(group)
    manager.freeze(group)
    assert manager.frozen(group)
    manager.kill_all(group)
    assert outcome(pid) == -signal.SIGKILL
    assert not manager.frozen(group + "-gone")
