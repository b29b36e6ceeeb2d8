"""The kernel tests of corten.linux, on a kernel with cgroup v2 and all its controllers."""

from machine import Machine

SUITE = """
exec python3 -m pytest -c tests/vm/guest/pytest.ini --rootdir=/payload --color=no \
    tests/kernel/linux/test_cgroups.py tests/kernel/linux/test_cgroups_device_program.py \
    tests/kernel/linux/test_capabilities.py tests/kernel/linux/test_seccomp.py \
    tests/kernel/linux/test_devices.py
"""


def test_linux_on_cgroup_v2(tmp_path):
    with Machine(tmp_path / "machine", SUITE) as machine:
        result = machine.wait()
    assert result.code == 0, result.output + machine.kernel_messages()
    skipped = [line for line in result.output.splitlines() if line.startswith("SKIPPED")]
    assert skipped
    assert all(line.endswith("cgroup v1 only") for line in skipped), result.output


def test_the_machine_has_what_this_kernel_lacks(tmp_path):
    job = """
    cat /sys/module/apparmor/parameters/enabled
    cat /proc/self/attr/apparmor/current
    cat /sys/fs/cgroup/cgroup.controllers
    grep CapEff /proc/self/status
    modprobe wireguard && modprobe ip_vs && modprobe ipvlan && echo loaded
    exit 7
    """
    with Machine(tmp_path / "machine", job) as machine:
        result = machine.wait()
    enabled, confinement, controllers, capabilities, loaded = result.output.splitlines()
    assert result.code == 7
    assert (enabled, confinement, loaded) == ("Y", "unconfined", "loaded")
    assert {"cpuset", "cpu", "io", "memory", "pids"} <= set(controllers.split())
    assert int(capabilities.split()[1], 16) >> 24 & 1  # CAP_SYS_RESOURCE
