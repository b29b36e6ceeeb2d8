import json

import pytest

from corten.engine.containers.mounts import build_mounts
from corten.engine.containers.record import ContainerRecord, MountRecord
from corten.engine.containers.security import effective_capabilities, parse_security_opt
from corten.engine.containers.spec import HostFacts, StartFacts, build_spec, container_hostname
from corten.engine.containers.users import Identity
from corten.errors import InvalidParameter
from corten.linux.capabilities import DOCKER_DEFAULT, NAMES
from corten.types.container import ContainerConfig, HostConfig, Ulimit


class Profiles:
    def default(self, capabilities):
        return b"default"

    def profile(self, document, capabilities):
        return document


def build(config=None, host=None, *, mounts=(), identity=None, engines_profile="builtin", **facts):
    record = ContainerRecord(
        id="a" * 64,
        name="n",
        created_ns=0,
        image_id="sha256:0",
        config=ContainerConfig(cmd=["true"], **(config or {})),
        host_config=HostConfig(**{"network_mode": "bridge", **(host or {})}),
        mounts=list(mounts),
    )
    facts = {
        "identity": identity or Identity(0, 0, (0,), "/root"),
        "hostname": "h",
        "files": (),
        "namespace_path": lambda ref, kind: f"/proc/7/ns/{kind}",
        **facts,
    }
    known = HostFacts(capabilities=NAMES, seccomp=Profiles(), seccomp_profile=engines_profile)
    data, seccomp = build_spec(record, known, StartFacts(**facts))
    return json.loads(data), seccomp


def namespaces(spec):
    return {each["type"]: each.get("path") for each in spec["linux"]["namespaces"]}


def options(spec, destination):
    return next(m["options"] for m in spec["mounts"] if m["destination"] == destination)


def test_a_plain_container_has_dockers_defaults():
    spec, seccomp = build()
    assert set(namespaces(spec)) == {"mount", "network", "uts", "pid", "ipc", "cgroup"}
    assert [m["destination"] for m in spec["mounts"]] == [
        *("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"),
    ]
    assert "ro" in options(spec, "/sys") and "ro" in options(spec, "/sys/fs/cgroup")
    assert "size=67108864" in options(spec, "/dev/shm")
    assert spec["process"]["capabilities"]["bounding"] == list(DOCKER_DEFAULT)
    assert "inheritable" not in spec["process"]["capabilities"]
    assert "/proc/kcore" in spec["linux"]["maskedPaths"] and "/proc/sys" in spec["linux"]["readonlyPaths"]
    assert spec["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert seccomp == b"default"
    assert spec["root"] == {"path": "rootfs"}


def test_only_root_gets_effective_capabilities():
    capabilities = build(identity=Identity(1, 1, (1,), "/"))[0]["process"]["capabilities"]
    assert set(capabilities) == {"bounding"}


def test_privileged():
    spec, seccomp = build(host={"privileged": True})
    assert spec["process"]["capabilities"]["effective"] == list(NAMES)
    assert seccomp is None
    assert "rw" in options(spec, "/sys")
    assert "maskedPaths" not in spec["linux"] and "readonlyPaths" not in spec["linux"]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert any(device["path"] == "/dev/null" for device in spec["linux"]["devices"])


def test_modes_choose_namespaces():
    assert "network" not in namespaces(build(host={"network_mode": "host"})[0])
    joined = namespaces(build(host={"pid_mode": "container:x", "ipc_mode": "container:x"})[0])
    assert (joined["pid"], joined["ipc"]) == ("/proc/7/ns/pid", "/proc/7/ns/ipc")
    host = namespaces(
        build(host={"pid_mode": "host", "ipc_mode": "host", "uts_mode": "host", "cgroupns_mode": "host"})[0]
    )
    assert set(host) == {"mount", "network"}
    assert "hostname" not in build(host={"uts_mode": "host"})[0]


def test_hostnames():
    config, bridge, host = (
        ContainerConfig(),
        HostConfig(network_mode="bridge"),
        HostConfig(network_mode="host"),
    )
    assert container_hostname("0123456789abcdef", config, bridge, "vm") == "0123456789ab"
    assert container_hostname("0123456789abcdef", config, host, "vm") == "vm"
    assert container_hostname("x", ContainerConfig(hostname="given"), host, "vm") == "given"


def test_resources():
    resources = build(
        host={
            "memory": 1 << 30,
            "nano_cpus": 1_500_000_000,
            "cpuset_cpus": "0",
            "pids_limit": 10,
            "blkio_weight": 300,
        }
    )[0]["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 30, "swap": 2 << 30}
    assert resources["cpu"] == {"quota": 150_000, "period": 100_000, "cpus": "0"}
    assert resources["pids"] == {"limit": 10}
    assert resources["blockIO"] == {"weight": 300}
    assert build(host={"memory": 1 << 30, "memory_swap": -1})[0]["linux"]["resources"]["memory"]["swap"] == -1


def test_ulimits_and_limits_of_the_process():
    process = build(
        host={"ulimits": [Ulimit(name="nofile", soft=10, hard=-1)], "oom_score_adj": 5},
    )[0]["process"]
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": (1 << 64) - 1, "soft": 10}]
    assert process["oomScoreAdj"] == 5


def test_terminal():
    process = build({"tty": True}, {"console_size": (24, 80)})[0]["process"]
    assert process["consoleSize"] == {"height": 24, "width": 80}
    assert "TERM=xterm" in process["env"]


def mounts(records=(), host=None, **more):
    found = build_mounts(HostConfig(**(host or {})), list(records), files=(), **more)
    return {mount.destination: mount for mount in found}


def test_own_mounts_replace_defaults_and_parents_come_first():
    records = [
        MountRecord(kind="bind", source="/s", destination="/a/b/c", read_only=True),
        MountRecord(kind="bind", source="/s", destination="/a"),
        MountRecord(kind="tmpfs", destination="/dev/shm", data=["size=1m", "exec"]),
    ]
    found = mounts(records)
    assert [path for path in found if path.startswith("/a")] == ["/a", "/a/b/c"]
    assert found["/a/b/c"].options == ["rbind", "rprivate", "rro"]
    assert found["/dev/shm"].options == ["nosuid", "nodev", "size=1m", "exec"]


def test_read_only_root_leaves_devices_writable():
    found = mounts([MountRecord(kind="bind", source="/s", destination="/data")], {"readonly_rootfs": True})
    assert "ro" not in found["/dev/shm"].options and "ro" not in found["/data"].options


def test_shared_memory():
    assert mounts(shm_source="/x")["/dev/shm"].source == "/x"
    assert "/dev/shm" not in mounts(host={"ipc_mode": "none"})
    assert "size=4096" in mounts(host={"shm_size": 4096})["/dev/shm"].options


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["net_admin"], None, [*DOCKER_DEFAULT, "CAP_NET_ADMIN"]),
        (None, ["CAP_CHOWN"], [c for c in DOCKER_DEFAULT if c != "CAP_CHOWN"]),
        (["ALL"], ["SYS_ADMIN"], [c for c in NAMES if c != "CAP_SYS_ADMIN"]),
        (["CHOWN"], ["all"], ["CAP_CHOWN"]),
    ],
)
def test_capabilities(add, drop, expected):
    assert effective_capabilities(HostConfig(cap_add=add, cap_drop=drop), NAMES) == expected


def test_unknown_capability():
    with pytest.raises(InvalidParameter, match='invalid CapAdd: unknown capability: "CAP_FLY"'):
        effective_capabilities(HostConfig(cap_add=["fly"]), NAMES)


@pytest.mark.parametrize(
    ("engines", "asked", "privileged", "expected"),
    [
        ("builtin", [], False, b"default"),
        ("{1}", [], False, b"{1}"),
        ("{1}", ["seccomp=builtin"], False, b"default"),
        ("{1}", ["seccomp={2}"], False, b"{2}"),
        ("{1}", ["seccomp=unconfined"], False, None),
        ("{1}", [], True, None),
        ("{1}", ["seccomp={2}"], True, b"{2}"),
        ("unconfined", [], False, None),
        ("unconfined", ["seccomp=builtin"], False, b"default"),
    ],
)
def test_the_engines_seccomp_profile_is_for_those_that_ask_for_none(engines, asked, privileged, expected):
    _, program = build(host={"security_opt": asked, "privileged": privileged}, engines_profile=engines)
    assert program == expected


def test_security_options():
    parsed = parse_security_opt(["no-new-privileges", "seccomp=unconfined", "label=disable"])
    assert parsed.no_new_privileges and parsed.seccomp == "unconfined"
    assert parse_security_opt(["seccomp:{}"]).seccomp == "{}"
    with pytest.raises(InvalidParameter, match='invalid --security-opt 1: "x"'):
        parse_security_opt(["x"])
    with pytest.raises(InvalidParameter, match='invalid --security-opt 2: "x=y"'):
        parse_security_opt(["x=y"])
    assert parse_security_opt(["apparmor=mine"]).apparmor == "mine"
