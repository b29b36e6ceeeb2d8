"""The default profile as a process inside sees it: capabilities, seccomp, devices, masked paths.

A static program tries what must not work (probe.c). Expected errors are the point: EPERM from our filter,
not ENOSYS or EINVAL from a kernel that was asked.
"""

import errno
import subprocess

import pytest

_DEFAULT_CAPABILITIES = 0x00000000A80425FB  # the fourteen
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

# What the default filter refuses by name or argument, whatever the process may otherwise do.
_FILTERED = """
    af_alg af_vsock mount_cgroup mount_cgroup2 mount_proc mount_tmpfs remount umount_mask fsopen open_tree
    move_mount pivot_root setns unshare_user unshare_mount clone_user keyctl add_key request_key bpf perf
    open_by_handle userfaultfd io_uring kexec init_module swapon acct quotactl settimeofday sethostname syslog
    personality_randomize iopl
""".split()  # noqa: SIM905
_DEVICES = ("mem", "kmsg", "fuse", "tun", "loop", "disk", "sda_write")
_READ_ONLY = (
    "core_pattern",
    "modprobe",
    "sysrq",
    "release_agent",
    "cgroup_tasks",
    "cgroup_devices",
    "uevent",
)
_EMPTY = ("keys", "interrupts", "timer_list", "sched_debug", "latency_stats", "kcore")
_ABSENT = ("firmware", "powercap", "thermal")


@pytest.fixture
def image(attacker, probe):
    return attacker.image(probe)


def results(output):
    """name -> errno of the probe's lines."""
    pairs = (line.split() for line in output.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def status(output):
    """Fields of /proc/self/status."""
    return dict(line.split(":\t", 1) for line in output.splitlines() if ":\t" in line)


def check_refused(found):
    assert {name: found[name] for name in _FILTERED if found[name] != errno.EPERM} == {}
    assert found["clone3"] == errno.ENOSYS  # so that libc falls back to clone, whose flags can be checked
    assert found["x32_getpid"] in (errno.EPERM, errno.ENOSYS)
    assert {name for name in _DEVICES if found[name] not in (errno.EPERM, errno.EACCES)} == set()
    assert {name: found[name] for name in _READ_ONLY if found[name] not in _REFUSALS} == {}
    assert {name: found[name] for name in _EMPTY if found[name] not in (errno.ENODATA, errno.ENOENT)} == {}
    assert {name: found[name] for name in _ABSENT if found[name] != errno.ENOENT} == {}
    assert found["af_inet"] == 0  # the probe does work


_REFUSALS = (errno.EROFS, errno.EACCES, errno.ENOENT)


def test_run(attacker, image):
    found = results(attacker.sh(image, "probe").stdout)
    check_refused(found)
    assert found["null"] == found["chroot"] == 0


def test_exec(attacker, image):
    sleeper = attacker.create(image, "sleep", "60")
    attacker.start(sleeper)
    check_refused(results(attacker.exec(sleeper, "probe")[1]))
    check_refused(results(attacker.exec(sleeper, "probe", User="guest")[1]))
    check_refused(results(attacker.exec(sleeper, "probe", Tty=True)[1]))


def test_all_capabilities_do_not_open_what_the_profile_closes(attacker, image):
    """--cap-add ALL lets more through, but AF_ALG, read-only and masked paths and devices stay closed."""
    found = results(attacker.sh(image, "probe", "--cap-add=ALL").stdout)
    assert found["mount_tmpfs"] == 0
    for name in ("af_alg", "af_vsock", "keyctl", "add_key", "request_key", "kexec"):
        assert found[name] == errno.EPERM, name
    assert {name for name in _DEVICES if found[name] != errno.EPERM} == set()


def test_no_new_privileges_and_read_only_change_nothing(attacker, image):
    flags = ("--security-opt=no-new-privileges", "--read-only", "--tmpfs=/tmp")
    check_refused(results(attacker.sh(image, "probe", *flags).stdout))


@pytest.mark.parametrize("user", ["", "guest", "4242:4242"])
def test_capability_sets(attacker, image, user):
    """Nothing inheritable (CVE-2022-24769, CVE-2022-29162), nothing ambient, in run and in exec."""
    sleeper = attacker.create(image, "sleep", "60", User=user)
    attacker.start(sleeper)
    texts = [
        attacker.exec(sleeper, "cat", "/proc/1/status")[1],
        attacker.exec(sleeper, "cat", "/proc/self/status")[1],
        attacker.exec(sleeper, "cat", "/proc/self/status", Tty=True)[1].replace("\r", ""),
    ]
    held = _DEFAULT_CAPABILITIES if not user else 0
    for text in texts:
        fields = status(text)
        seen = {name: int(fields[name], 16) for name in _SETS}
        expected = (0, held, held, _DEFAULT_CAPABILITIES, 0)
        assert seen == dict(zip(_SETS, expected, strict=True))
        assert fields["Seccomp"] == "2"
        assert int(fields["SigBlk"], 16) == int(fields["SigIgn"], 16) == 0


def test_a_privileged_exec_stays_in_the_container(attacker, image):
    """It has all capabilities, but the root, the devices and the read-only paths are the container's."""
    sleeper = attacker.create(image, "sleep", "60")
    attacker.start(sleeper)
    found = results(attacker.exec(sleeper, "probe", Privileged=True)[1])
    assert {name for name in _DEVICES if found[name] != errno.EPERM} == set()
    ordinary = status(attacker.exec(sleeper, "cat", "/proc/self/status")[1])
    assert int(ordinary["CapEff"], 16) == _DEFAULT_CAPABILITIES
    assert ordinary["Seccomp"] == "2"


def test_a_setuid_program_gains_nothing_with_no_new_privileges(attacker, probe):
    image = attacker.image(probe, User="guest")
    assert results(attacker.sh(image, "probe").stdout)["euid"] == 0
    assert results(attacker.sh(image, "probe", "--security-opt=no-new-privileges").stdout)["euid"] == 1000


def test_namespaces_are_the_containers_own(attacker, image):
    """Of every kind Docker separates; the user namespace is the host's unless asked for."""
    script = "for ns in /proc/self/ns/*; do readlink $ns; done"
    inside = attacker.sh(image, script).stdout.split()
    command = attacker.engine.sandbox.command("sh", "-c", script)
    outside = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    shared = {name.partition(":")[0] for name in set(inside) & set(outside)}
    assert shared <= {"user", "time", "time_for_children"}


def test_nothing_of_the_host_is_mounted(attacker, image):
    """mountinfo shows the container's mounts and no path of the host but its three files."""
    text = attacker.sh(image, "cat /proc/self/mountinfo").stdout
    roots = {line.split()[3] for line in text.splitlines() if line.split()[4].startswith("/etc/")}
    assert len(roots) == 3 and all("/containers/" in root for root in roots)
    others = [line.split() for line in text.splitlines() if not line.split()[4].startswith("/etc/")]
    assert {
        fields[3] for fields in others if fields[8 - (fields[6] == "-")] in ("ext4", "xfs", "btrfs")
    } == set()
    assert not [fields for fields in others if "shared:" in " ".join(fields[6:8])]
