"""The v2 manager over plain files: what it writes where, and how it reads. The kernel's part: tests/vm."""

import os

import pytest

from corten.linux.cgroups import v1_mounts
from corten.linux.cgroups.v2 import V2Manager


@pytest.fixture
def root(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    return tmp_path


@pytest.fixture
def group(root):
    """A cgroup with files, made before the manager comes to it."""
    parent = root / "corten"
    group = parent / "one"
    group.mkdir(parents=True)
    (parent / "cgroup.controllers").write_text("cpu memory pids\n")
    (parent / "cgroup.subtree_control").write_text("")
    for name in ("memory.max", "memory.swap.max", "cpu.weight", "cgroup.procs", "cgroup.kill"):
        (group / name).write_text("")
    return group


def test_controllers_are_switched_on_all_the_way_down(root, group):
    V2Manager(str(root)).create("/corten/one", {})
    assert (root / "cgroup.subtree_control").read_text().startswith("+cpu +pids")
    assert (group.parent / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_limits_are_written_and_missing_files_are_warnings(root, group):
    resources = {"memory": {"limit": 100, "swap": 150}, "cpu": {"shares": 1024}, "pids": {"limit": 3}}
    warnings = V2Manager(str(root)).create("/corten/one", resources)
    assert (group / "memory.max").read_text() == "100"
    assert (group / "memory.swap.max").read_text() == "50"
    assert (group / "cpu.weight").read_text() == "100"
    assert [text.partition(" support ")[2][:4] for text in warnings] == ["PIDs"]


def test_joining_and_killing(root, group):
    manager = V2Manager(str(root))
    manager.join_self("/corten/one")
    assert (group / "cgroup.procs").read_text() == "0"
    manager.join("/corten/one", 77)
    assert manager.pids("/corten/one") == [77]
    manager.kill_all("/corten/one")
    assert (group / "cgroup.kill").read_text() == "1"
    handle = manager.clone_fd("/corten/one")
    assert os.path.samestat(os.fstat(handle), os.stat(group))
    os.close(handle)


def test_counters(root, group):
    for name, text in {
        "cpu.stat": "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\n"
        "nr_periods 4\nnr_throttled 2\nthrottled_usec 9\n",
        "memory.current": "4096\n",
        "memory.max": "max\n",
        "memory.stat": "anon 1\ninactive_file 2\n",
        "memory.events": "low 0\noom 1\noom_kill 1\n",
        "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:0 \n",
        "pids.current": "2\n",
        "pids.max": "max\n",
    }.items():
        (group / name).write_text(text)
    manager = V2Manager(str(root))
    stats = manager.stats("/corten/one")
    assert stats["cpu_stats"] == {
        "cpu_usage": {"total_usage": 3000000, "usage_in_kernelmode": 1000000, "usage_in_usermode": 2000000},
        "throttling_data": {"periods": 4, "throttled_periods": 2, "throttled_time": 9000},
    }
    assert stats["memory_stats"] == {
        "usage": 4096,
        "limit": 2**64 - 1,
        "stats": {"anon": 1, "inactive_file": 2},
    }
    assert stats["pids_stats"] == {"current": 2, "limit": 2**64 - 1}
    assert stats["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 1},
        {"major": 8, "minor": 0, "op": "write", "value": 2},
    ]
    assert manager.oom_killed("/corten/one")


def test_what_is_gone_is_no_error(root):
    manager = V2Manager(str(root))
    assert manager.pids("/corten/no") == []
    assert manager.children("/corten/no") == []
    assert not manager.exists("/corten/no")
    assert not manager.oom_killed("/corten/no")
    assert not manager.frozen("/corten/no")
    manager.remove("/corten/no")
    manager.kill_all("/corten/no")


def test_removal_takes_nested_cgroups(root):
    manager = V2Manager(str(root))
    (root / "corten/one/two").mkdir(parents=True)
    assert manager.children("/corten") == ["one"]
    manager.remove("/corten")
    assert not (root / "corten").exists()


def test_features(root):
    features = V2Manager(str(root)).features()
    assert features["MemoryLimit"] and features["PidsLimit"] and features["CpuCfsQuota"]
    assert not features["CPUSet"] and not features["OomKillDisable"]


def test_v1_hierarchies_are_found_among_mounts():
    mounts = [
        ("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
        ("/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
        ("/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,release_agent=/lib/systemd/x,name=systemd"),
        ("/sys/fs/cgroup/unified", "cgroup2", "rw,nsdelegate"),
        ("/elsewhere/memory", "cgroup", "rw,memory"),
    ]
    assert v1_mounts(mounts) == [
        ("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")),
        ("/sys/fs/cgroup/memory", ("memory",)),
        ("/sys/fs/cgroup/systemd", ("name=systemd",)),
    ]
