"""The kernel tests of corten.linux, on a kernel with cgroup v2 and all its controllers."""

from bootimages import make_disk
from machine import Machine

PYTEST = "exec python3 -m pytest -c tests/vm/guest/pytest.ini --rootdir=/payload --color=no "


def run(directory, arguments, disk=None):
    """Output of pytest inside a machine; fails unless all tests there pass."""
    with Machine(directory, PYTEST + arguments, disk=disk, memory_mb=1024) as machine:
        result = machine.wait()
    assert result.code == 0, result.output + machine.kernel_messages()
    return result.output


def test_linux_on_cgroup_v2(tmp_path):
    names = ("cgroups", "cgroups_device_program", "capabilities", "seccomp", "devices")
    output = run(tmp_path / "machine", " ".join(f"tests/kernel/linux/test_{name}.py" for name in names))
    skipped = [line for line in output.splitlines() if line.startswith("SKIPPED")]
    assert skipped
    assert all("this machine has no cgroup v1" in line for line in skipped), output


def test_containers_on_cgroup_v2(tmp_path):
    """The supervisor's own tests. Those of upgrades kill it: here (Linux 6.1) nobody knows exit codes of meanwhile.

    runc and crun are left to the machine outside, and so is the nursery: with cgroup v2 everything is forked.
    """
    names = ("upgrade", "inits", "nursery")
    ignored = " ".join(f"--ignore tests/kernel/supervisor/test_{name}.py" for name in names)
    left_out = f"{ignored} -k 'not other_oci_runtime'"
    output = run(tmp_path / "machine", f"tests/kernel/supervisor {left_out}")
    assert "skipped" not in output


def test_macvlan_vlans_ipvlan_and_sctp(tmp_path):
    """What the drivers do where the kernel has everything they need; and egress control on Linux 6.1."""
    names = ("drivers", "sctp", "egress")
    tests = " ".join(f"tests/kernel/network/test_{name}.py" for name in names)
    job = f"modprobe sctp; export CORTEN_ALL_KINDS=1; {PYTEST}{tests}"
    with Machine(tmp_path / "machine", job, memory_mb=1024) as machine:
        result = machine.wait()
    assert result.code == 0, result.output + machine.kernel_messages()
    assert "skipped" not in result.output


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


def test_the_engine_on_cgroup_v2_with_apparmor(tmp_path):
    """Limits, freezer, kill, out of memory, the profile of containers, and user namespaces."""
    disk = make_disk(tmp_path / "disk.img", "1G")
    output = run(tmp_path / "machine", "tests/vm/guest/test_engine.py", disk)
    assert "skipped" not in output


def test_volumes_of_servers(tmp_path):
    """NFS and CIFS, which the kernel outside has not."""
    disk = make_disk(tmp_path / "disk.img", "1G")
    output = run(tmp_path / "machine", "tests/vm/guest/test_remote_volumes.py", disk)
    assert "skipped" not in output


def test_volumes_limited_by_project_quotas(tmp_path):
    """On ext4 and XFS: the kernel outside has project quotas on neither."""
    disk = make_disk(tmp_path / "disk.img", "1G")
    output = run(tmp_path / "machine", "tests/vm/guest/test_quotas.py", disk)
    assert "skipped" not in output
