"""What limits of the OCI document become on either version, as data."""

import pytest

from corten.errors import InvalidParameter
from corten.linux import devices
from corten.linux.cgroups import v1_settings, v2_settings
from corten.linux.cgroups.discarded import sentence


def v1(**resources):
    return [(files[0], value) for _, files, value in v1_settings.settings(resources)]


def v2(**resources):
    return [(files[0], value) for files, value in v2_settings.settings(resources)]


def test_v1_memory_comes_before_memory_and_swap():
    memory = {"swap": 200, "limit": 100, "reservation": 50, "swappiness": 0, "disableOOMKiller": True}
    assert v1(memory=memory) == [
        ("memory.limit_in_bytes", "100"),
        ("memory.memsw.limit_in_bytes", "200"),
        ("memory.soft_limit_in_bytes", "50"),
        ("memory.swappiness", "0"),
        ("memory.oom_control", "1"),
    ]


def test_v1_no_limit_on_memory_is_none_on_both():
    assert v1(memory={"limit": -1}) == [
        ("memory.limit_in_bytes", "-1"),
        ("memory.memsw.limit_in_bytes", "-1"),
    ]


def test_v1_cpu():
    cpu = {"shares": 512, "quota": -1, "period": 100000, "cpus": "0-1", "mems": "0", "burst": 10}
    assert v1(cpu=cpu) == [
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.cfs_burst_us", "10"),
        ("cpu.shares", "512"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
    ]
    assert v1(cpu={"shares": 512, "idle": 1}) == [("cpu.idle", "1")]


def test_v1_block_io_and_the_rest():
    block = {
        "weight": 300,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 100}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 10}],
    }
    assert v1(
        blockIO=block,
        pids={"limit": -1},
        hugepageLimits=[{"pageSize": "2MB", "limit": 5}],
        network={"classID": 7, "priorities": [{"name": "eth0", "priority": 3}]},
        rdma={"mlx4_0": {"hcaHandles": 2, "hcaObjects": 3}},
    ) == [
        ("pids.max", "max"),
        ("blkio.weight", "300"),
        ("blkio.weight_device", "8:0 100"),
        ("blkio.throttle.read_bps_device", "8:0 1048576"),
        ("blkio.throttle.write_iops_device", "8:16 10"),
        ("hugetlb.2MB.limit_in_bytes", "5"),
        ("net_cls.classid", "7"),
        ("net_prio.ifpriomap", "eth0 3"),
        ("rdma.max", "mlx4_0 hca_handle=2 hca_object=3"),
    ]


def test_v1_devices_are_denied_first_and_no_rule_is_written_twice():
    default, allowed = v1(devices=list(devices.DOCKER_RULES))
    assert default == ("devices.deny", "a")
    file, lines = allowed[0], allowed[1].split("\n")
    assert file == "devices.allow"
    assert len(set(lines)) == len(lines)
    assert {"c 1:3 rwm", "c *:* m"} <= set(lines)
    assert v1(devices=[devices.ALLOW_ALL]) == [("devices.allow", "a")]


def test_v1_has_no_unified_settings():
    with pytest.raises(InvalidParameter, match="cannot use unified on cgroup v1"):
        v1(unified={"memory.high": "1"})


def test_nothing_asked_is_nothing_written():
    empty = {
        "memory": {},
        "cpu": {"shares": 0},
        "pids": {"limit": 0},
        "blockIO": {"weight": 0},
        "devices": None,
    }
    assert v1(**empty) == v2(**empty) == []
    assert v1(memory=None) == v2(memory=None) == []


# runc: opencontainers/cgroups utils_test.go has the ends and the default; the rest is its formula.
@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        (0, 0),
        (1, 1),
        (2, 1),
        (100, 17),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (262144, 10000),
        (300000, 10000),
    ],
)
def test_cpu_weight(shares, weight):
    assert v2_settings.cpu_weight(shares) == weight


@pytest.mark.parametrize(("blkio", "io"), [(0, 0), (10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_io_weight(blkio, io):
    assert v2_settings.io_weight(blkio) == io


@pytest.mark.parametrize(
    ("memory", "both", "swap"),
    [(0, 0, None), (-1, 0, -1), (100, 0, None), (100, -1, -1), (-1, -1, -1), (100, 100, 0), (100, 300, 200)],
)
def test_swap_limits(memory, both, swap):
    assert v2_settings.swap_max(memory, both) == swap


@pytest.mark.parametrize(("memory", "both"), [(0, 100), (-1, 100), (-2, 100), (100, 50)])
def test_swap_limits_that_make_no_sense(memory, both):
    with pytest.raises(InvalidParameter):
        v2_settings.swap_max(memory, both)


def test_v2_settings():
    assert v2(
        memory={"limit": 100, "swap": 300, "reservation": 50},
        cpu={"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0"},
        pids={"limit": 5},
        blockIO={
            "weight": 100,
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 10}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 0}],
        },
        hugepageLimits=[{"pageSize": "2MB", "limit": 5}],
        unified={"memory.high": "90", "io.max": "8:0 rbps=1\n8:16 rbps=2"},
    ) == [
        ("memory.swap.max", "200"),
        ("memory.max", "100"),
        ("memory.low", "50"),
        ("cpu.weight", "100"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0"),
        ("pids.max", "5"),
        ("io.weight", "default 910"),
        ("io.max", "8:0 rbps=10"),
        ("io.max", "8:0 wbps=max"),
        ("hugetlb.2MB.max", "5"),
        ("memory.high", "90"),
        ("io.max", "8:0 rbps=1\n8:16 rbps=2"),
    ]


@pytest.mark.parametrize(("cpu", "text"), [((50000, 0), "50000"), ((-1, 0), "max"), ((0, 5000), "max 5000")])
def test_v2_cpu_max(cpu, text):
    quota, period = cpu
    assert v2(cpu={"quota": quota, "period": period}) == [("cpu.max", text)]


@pytest.mark.parametrize("name", ["../escape", "cgroup.procs", "cgroup.kill", "memory"])
def test_unified_is_for_files_of_controllers_only(name):
    with pytest.raises(InvalidParameter):
        v2(unified={name: "1"})


def test_what_v2_cannot_do_is_said():
    resources = {"memory": {"disableOOMKiller": True, "swappiness": 5}, "cpu": {"realtimeRuntime": 9}}
    assert len(v2_settings.ignored(resources)) == 3
    assert v2_settings.ignored({}) == []


def test_dockers_sentences():
    text = (
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
        "Memory limited without swap."
    )
    assert sentence("memory.memsw.limit_in_bytes") == sentence("memory.swap.max") == text
    assert "hugetlb" in sentence("hugetlb.2MB.max")
