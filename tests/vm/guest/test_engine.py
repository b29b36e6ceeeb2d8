"""The whole engine on a kernel with cgroup v2 and AppArmor."""

import contextlib
import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import time

import pytest

SOCKET = "/run/corten/corten.sock"
ROOT = "/disk/root"  # ext4: Debian 12's kernel cannot id-map a tmpfs
START = "import sys; from corten.daemon.main import main; sys.exit(main())"


def request(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(SOCKET)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, f"/v1.51{path}", data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def call(method, path, body=None, *, status=None):
    code, data = request(method, path, body)
    assert code in ((status,) if status else (200, 201, 204)), (code, data)
    return json.loads(data) if data[:1] in (b"{", b"[") else data


def launch(directory):
    """An engine, as soon as it answers; its words are in the directory."""
    log_file, config = directory / "log", directory / "daemon.json"
    config.write_text('{"cgroup-parent": "/corten"}')
    with contextlib.suppress(FileNotFoundError):  # of one that was killed
        os.unlink(SOCKET)
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, "--root", ROOT, "--config-file", config],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 120
    while True:
        try:
            call("GET", "/_ping")
            return process
        except (FileNotFoundError, ConnectionRefusedError):  # not there yet, or not listening yet
            assert process.poll() is None and time.monotonic() < deadline, log_file.read_text()
            time.sleep(0.1)


def load_image():
    """The image "guest": busybox."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add("/payload/busybox", "bin/busybox")
        for name in ("sh", "cat", "sleep", "tail", "mount", "touch", "dd", "echo"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        directory = tarfile.TarInfo("mnt")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
    code, data = request("POST", "/images/create?fromSrc=-&repo=guest", out.getvalue())
    assert code == 200 and b'"error"' not in data, data


@pytest.fixture(scope="module", autouse=True)
def engine(tmp_path_factory):
    process = launch(tmp_path_factory.mktemp("engine"))
    load_image()
    yield
    process.terminate()
    process.wait()


@pytest.fixture
def start():
    made = []

    def start(*cmd, **host):
        body = {"Image": "guest", "Cmd": list(cmd), "HostConfig": {"NetworkMode": "none", **host}}
        made.append(call("POST", "/containers/create", body)["Id"])
        call("POST", f"/containers/{made[-1]}/start")
        return made[-1]

    yield start
    for identifier in made:
        request("DELETE", f"/containers/{identifier}?force=1")  # unless the test has


def state(identifier):
    return call("GET", f"/containers/{identifier}/json")["State"]


def finished(identifier):
    return call("POST", f"/containers/{identifier}/wait")["StatusCode"], output(identifier)


def output(identifier):
    _, data = request("GET", f"/containers/{identifier}/logs?stdout=1&stderr=1")
    text = b""
    while data:
        length = int.from_bytes(data[4:8], "big")
        text, data = text + data[8 : 8 + length], data[8 + length :]
    return text.decode()


def cgroup(identifier, file):
    with open(f"/sys/fs/cgroup/corten/{identifier}/{file}") as opened:
        return opened.read().strip()


def test_limits_are_set_and_changed(start):
    identifier = start("sleep", "1000", Memory=64 << 20, NanoCpus=500_000_000, PidsLimit=20, CpuShares=512)
    files = ("memory.max", "memory.swap.max", "cpu.max", "pids.max", "cpu.weight")
    assert [cgroup(identifier, name) for name in files[:4]] == [
        str(64 << 20),
        str(64 << 20),
        "50000 100000",
        "20",
    ]
    assert 1 < int(cgroup(identifier, "cpu.weight")) < 100
    wanted = {"Memory": 32 << 20, "MemorySwap": 48 << 20, "PidsLimit": -1, "NanoCpus": 250_000_000}
    assert call("POST", f"/containers/{identifier}/update", wanted) == {"Warnings": None}
    assert [cgroup(identifier, name) for name in files[:4]] == [
        str(32 << 20),
        str(16 << 20),
        "25000 100000",
        "max",
    ]


def test_what_version_2_cannot_do_is_said(start):
    body = {"Image": "guest", "Cmd": ["true"], "HostConfig": {"OomKillDisable": True, "Memory": 64 << 20}}
    made = call("POST", "/containers/create", body)
    assert made["Warnings"] == ["Your kernel does not support OomKillDisable. OomKillDisable discarded."]
    call("DELETE", f"/containers/{made['Id']}")


def test_the_freezer(start):
    identifier = start("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    while output(identifier) != "ready\n":
        time.sleep(0.05)
    call("POST", f"/containers/{identifier}/pause")
    assert "frozen 1" in cgroup(identifier, "cgroup.events")
    assert state(identifier)["Status"] == "paused"
    call("POST", f"/containers/{identifier}/unpause")
    assert "frozen 0" in cgroup(identifier, "cgroup.events")
    call("POST", f"/containers/{identifier}/pause")
    call("POST", f"/containers/{identifier}/stop?t=60")
    assert state(identifier)["ExitCode"] == 5


def test_killing_takes_everything_along(start):
    identifier = start("sh", "-c", "for i in 1 2 3 4 5; do sleep 1000 & done; sleep 1000")
    while int(cgroup(identifier, "pids.current")) < 6:
        time.sleep(0.05)
    pids = cgroup(identifier, "cgroup.procs").split()
    call("POST", f"/containers/{identifier}/pause")
    call("POST", f"/containers/{identifier}/kill")
    assert state(identifier)["ExitCode"] == 137
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_out_of_memory_is_told(start):
    since = time.time() - 1
    identifier = start("tail", "/dev/zero", Memory=16 << 20, MemorySwap=16 << 20)
    assert finished(identifier)[0] == 137
    assert state(identifier)["OOMKilled"]
    until = time.time() + 1
    filters = json.dumps({"container": [identifier], "event": ["oom"]})
    events = request("GET", f"/events?since={since}&until={until}&filters={filters.replace(' ', '')}")[1]
    assert b'"oom"' in events


def test_counters(start):
    identifier = start("sh", "-c", "dd if=/dev/zero of=/dev/null bs=1M count=50; sleep 1000", PidsLimit=9)
    sample = call("GET", f"/containers/{identifier}/stats?stream=0&one-shot=1")
    assert sample["pids_stats"]["limit"] == 9
    assert sample["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert sample["memory_stats"]["usage"] > 0
    assert "inactive_file" in sample["memory_stats"]["stats"]


CONFINED = "cat /proc/self/attr/apparmor/current"


def test_containers_are_confined(start):
    assert "name=apparmor" in call("GET", "/info")["SecurityOptions"]
    identifier = start("sh", "-c", CONFINED)
    assert finished(identifier) == (0, "corten-default (enforce)\n")
    assert call("GET", f"/containers/{identifier}/json")["AppArmorProfile"] == "corten-default"
    assert finished(start("sh", "-c", CONFINED, SecurityOpt=["apparmor=unconfined"])) == (0, "unconfined\n")
    assert finished(start("sh", "-c", CONFINED, Privileged=True)) == (0, "unconfined\n")


def test_the_profile_forbids_what_capabilities_would_allow(start):
    mount = "mount -t tmpfs none /mnt"
    code, text = finished(start("sh", "-c", mount, CapAdd=["SYS_ADMIN"], SecurityOpt=["seccomp=unconfined"]))
    assert code != 0 and "denied" in text.lower()
    free = ["seccomp=unconfined", "apparmor=unconfined"]
    assert finished(start("sh", "-c", mount, CapAdd=["SYS_ADMIN"], SecurityOpt=free))[0] == 0


@pytest.mark.parametrize("path", ["/proc/sys/vm/swappiness", "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run"])
def test_the_profile_protects_settings_of_the_kernel(start, path):
    bare = {"MaskedPaths": [], "ReadonlyPaths": [], "CapAdd": ["SYS_ADMIN", "DAC_OVERRIDE"]}
    code, text = finished(start("sh", "-c", f"echo 0 >{path}", **bare))
    assert code != 0 and ("Permission denied" in text or "Read-only" in text)


def test_ordinary_work_is_not_forbidden(start):
    work = "echo x >/f; cat /f; kill -0 $$; (sleep 100 & kill $!); cat /proc/self/stat >/dev/null; touch /dev/shm/x"
    assert finished(start("sh", "-c", work)) == (0, "x\n")


def test_execs_are_confined_too(start):
    identifier = start("sleep", "1000")
    body = {"Cmd": ["sh", "-c", f"{CONFINED} >/out"], "AttachStdout": True}
    made = call("POST", f"/containers/{identifier}/exec", body)["Id"]
    call("POST", f"/exec/{made}/start", {"Detach": True})
    while call("GET", f"/exec/{made}/json")["Running"]:
        time.sleep(0.05)
    pid = state(identifier)["Pid"]
    with open(f"/proc/{pid}/root/out") as file:
        assert file.read() == "corten-default (enforce)\n"


def test_an_unknown_profile_is_refused():
    body = {"Image": "guest", "Cmd": ["true"], "HostConfig": {"SecurityOpt": ["apparmor=nosuch"]}}
    answer = call("POST", "/containers/create", body, status=400)
    assert answer["message"] == "AppArmor profile nosuch is not loaded"


def test_user_namespaces(start):
    """Ids of its own, also for what cgroup v2 mounts; and confined all the same."""
    for path in ("/etc/subuid", "/etc/subgid"):
        with open(path, "a") as file:
            file.write("containers:1000000:131072\n")
    script = "cat /proc/self/uid_map; touch /new /dev/shm/x; cat /sys/fs/cgroup/memory.max"
    identifier = start("sh", "-c", f"{script}; {CONFINED}", UsernsMode="auto", Memory=64 << 20)
    code, text = finished(identifier)
    assert (code, text.split()) == (
        0,
        ["0", "1000000", "65536", str(64 << 20), "corten-default", "(enforce)"],
    )
    assert os.stat(f"{ROOT}/containers/{identifier}/upper/new").st_uid == 0
    pid = state(start("sleep", "1000", UsernsMode="auto"))["Pid"]
    with open(f"/proc/{pid}/status") as file:
        assert "Uid:\t1065536\t1065536" in file.read()
