"""corten-oci as its callers use it: bundles, commands, exit codes, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.linux.idmap import user_namespace

pytestmark = pytest.mark.root

CORTEN_OCI = str(Path(__file__).parents[3] / ".venv/bin/corten-oci")


@pytest.fixture
def cgroup() -> Iterator[str]:
    name = f"corten-oci-test-{uuid.uuid4().hex[:8]}"
    yield name
    left = [p for p in Path("/sys/fs/cgroup").glob(f"*/{name}/*") if p.is_dir()]
    for path in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        path.rmdir()
    assert left == []


@pytest.fixture
def bundle(tmp_path: Path, cgroup: str) -> Callable[..., str]:
    rootfs = tmp_path / "rootfs"
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    subprocess.run(["chroot", str(rootfs), "/bin/busybox", "--install", "-s", "/bin"], check=True)

    def make(args: list[str], **changes: object) -> str:
        spec: dict[str, object] = {
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {
                    "destination": "/dev/pts",
                    "type": "devpts",
                    "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666"],
                },
            ],
            "linux": {
                "cgroupsPath": f"/{cgroup}/c",
                "namespaces": [{"type": n} for n in ("pid", "mount", "ipc", "uts", "network")],
            },
        }
        for key, value in changes.items():
            section, _, name = key.partition("__")
            if name:
                spec[section][name] = value  # type: ignore[index]
            else:
                spec[section] = value
        (tmp_path / "config.json").write_text(json.dumps(spec))
        return str(tmp_path)

    return make


@pytest.fixture
def oci(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [CORTEN_OCI, "--root", str(tmp_path / "state"), *args]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)

    return run


def test_run_gives_output_and_exit_code(bundle, oci) -> None:  # type: ignore[no-untyped-def]
    result = oci("run", "--bundle", bundle(["sh", "-c", "echo pid $$; exit 7"]), "a")
    assert (result.stdout, result.returncode) == ("pid 1\n", 7)
    assert oci("list", "-q").stdout == ""


def test_lifecycle(bundle, oci, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = bundle(["sh", "-c", "echo started > /tmp/started; sleep 100"], annotations={"a": "b"})
    pid_file = tmp_path / "pid"
    # create leaves a process with our pipes behind: give it files instead
    with open(tmp_path / "out", "w") as out:
        command = [
            CORTEN_OCI,
            "--root",
            str(tmp_path / "state"),
            "create",
            "-b",
            path,
            "--pid-file",
            str(pid_file),
            "a",
        ]
        assert subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode == 0
    state = json.loads(oci("state", "a").stdout)
    assert (state["status"], state["pid"], state["annotations"]) == (
        "created",
        int(pid_file.read_text()),
        {"a": "b"},
    )
    assert not (tmp_path / "rootfs/tmp/started").exists()
    assert oci("create", "-b", path, "a").returncode == 1
    assert oci("start", "a").returncode == 0
    assert json.loads(oci("state", "a").stdout)["status"] == "running"
    assert "cannot start a container that has running" in oci("start", "a").stderr
    assert "not stopped" in oci("delete", "a").stderr
    result = oci("exec", "-e", "X=y", "--cwd", "/tmp", "a", "sh", "-c", "echo $X; pwd; ls; exit 5")
    assert (result.stdout, result.returncode) == ("y\n/tmp\nstarted\n", 5)
    assert oci("pause", "a").returncode == 0
    assert json.loads(oci("state", "a").stdout)["status"] == "paused"
    assert oci("resume", "a").returncode == 0
    assert oci("kill", "a", "KILL").returncode == 0
    for _ in range(100):
        if json.loads(oci("state", "a").stdout)["status"] == "stopped":
            break
        time.sleep(0.02)
    assert oci("delete", "a").returncode == 0
    assert "container does not exist" in oci("state", "a").stderr
    assert os.listdir(tmp_path / "state") == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"process__args": ["nope"]}, 'exec: "nope": executable file not found in $PATH'),
        ({"process__args": []}, "process.args must not be empty"),
        ({"process__cwd": "relative"}, "process.cwd must be an absolute path"),
        ({"ociVersion": "2.0"}, "unsupported ociVersion"),
        (
            {"linux__timeOffsets": {"monotonic": {"secs": 1}}},
            "linux.timeOffsets is not supported by Corten yet",
        ),
        ({"linux__cgroupsPath": "user.slice:x:y"}, "systemd cgroup paths are not supported"),
        ({"process__terminal": True}, "console socket"),
        ({"linux__rootfsPropagation": "sideways"}, "unknown linux.rootfsPropagation"),
        (
            {"process__rlimits": [{"type": "RLIMIT_NOFILE", "soft": n, "hard": n} for n in (8, 9)]},
            "given twice",
        ),
        (
            {"hostname": "box", "linux__namespaces": [{"type": "mount"}]},
            "hostname without a private UTS namespace",
        ),
        ({"linux__seccomp": {"defaultAction": "SCMP_ACT_NOPE"}}, "SCMP_ACT_NOPE"),
    ],
)
def test_refusals_leave_nothing(bundle, oci, tmp_path: Path, changes: dict[str, object], text: str) -> None:  # type: ignore[no-untyped-def]
    result = oci("create", "-b", bundle(["true"], **changes), "a")
    assert result.returncode == 1
    assert text in result.stderr
    state = tmp_path / "state"
    assert not state.exists() or os.listdir(state) == []


@pytest.mark.parametrize("bad", ["", "..", "a/b", "a b"])
def test_hostile_ids(bundle, oci, bad: str) -> None:  # type: ignore[no-untyped-def]
    assert "invalid container ID format" in oci("create", "-b", bundle(["true"]), bad).stderr


def test_hooks_run_at_their_points(bundle, oci, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    trace = tmp_path / "trace"

    def hook(name: str) -> list[dict[str, object]]:
        return [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >/dev/null; echo {name} >> {trace}"]}]

    points = ("prestart", "createRuntime", "poststart", "poststop")
    assert (
        oci("run", "-b", bundle(["true"], hooks={name: hook(name) for name in points}), "a").returncode == 0
    )
    assert trace.read_text().split() == list(points)


def test_a_failing_hook_fails_create(bundle, oci) -> None:  # type: ignore[no-untyped-def]
    hooks = {"createRuntime": [{"path": "/bin/false"}]}
    result = oci("run", "-b", bundle(["true"], hooks=hooks), "a")
    assert result.returncode == 1
    assert "createRuntime hook" in result.stderr


def test_user_namespace(bundle, oci) -> None:  # type: ignore[no-untyped-def]
    path = bundle(["sh", "-c", "id -u; cat /proc/self/uid_map; ls -l /dev/null"], hostname="box")
    document = json.loads(Path(path, "config.json").read_text())
    maps = [{"containerID": 0, "hostID": 0, "size": 1000}]
    document["linux"]["namespaces"].append({"type": "user"})
    document["linux"].update(uidMappings=maps, gidMappings=maps)
    Path(path, "config.json").write_text(json.dumps(document))
    result = oci("run", "-b", path, "a")
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == "0"
    assert lines[1].split() == ["0", "0", "1000"]


def test_a_user_namespace_is_joined_by_its_path(bundle, oci) -> None:  # type: ignore[no-untyped-def]
    maps = [{"containerID": 0, "hostID": 5000, "size": 10}]
    fd = user_namespace(maps, maps)
    try:
        path = bundle(["sh", "-c", "cat /proc/self/uid_map; id -u"])
        document = json.loads(Path(path, "config.json").read_text())
        document["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{os.getpid()}/fd/{fd}"})
        document["linux"].update(uidMappings=maps, gidMappings=maps)
        Path(path, "config.json").write_text(json.dumps(document))
        result = oci("run", "-b", path, "a")
        assert (result.stderr, result.stdout.split()) == ("", ["0", "5000", "10", "0"])
    finally:
        os.close(fd)


@pytest.mark.parametrize(("domain", "machine"), [("LINUX32", "i686"), ("LINUX", os.uname().machine)])
def test_personality(bundle, oci, domain: str, machine: str) -> None:  # type: ignore[no-untyped-def]
    assert oci("run", "-b", bundle(["uname", "-m"], linux__personality={"domain": domain}), "a").stdout == (
        f"{machine}\n"
    )


@pytest.mark.parametrize(
    ("propagation", "seen"),
    [("shared", "inside"), ("rshared", "inside"), ("private", "outside"), ("slave", "outside")],
)
def test_propagation_of_the_root(bundle, oci, propagation: str, seen: str) -> None:  # type: ignore[no-untyped-def]
    """A mount below / shows in a copy of / if this is shared, and in no other case."""
    script = """
        mkdir /a /copy && mount --bind / /copy && mount -t tmpfs none /a && touch /a/f
        [ -e /copy/a/f ] && echo inside || echo outside"""
    capabilities = dict.fromkeys(("bounding", "effective", "permitted"), ["CAP_SYS_ADMIN"])
    path = bundle(
        ["sh", "-c", script], linux__rootfsPropagation=propagation, process__capabilities=capabilities
    )
    assert oci("run", "-b", path, "a").stdout == f"{seen}\n"


def test_an_unbindable_root(bundle, oci) -> None:  # type: ignore[no-untyped-def]
    script = "mkdir /copy && mount --bind / /copy || echo refused"
    result = oci("run", "-b", bundle(["sh", "-c", script], linux__rootfsPropagation="unbindable"), "a")
    assert result.stdout == "refused\n"


def test_an_unknown_personality_is_refused(bundle, oci) -> None:  # type: ignore[no-untyped-def]
    result = oci("run", "-b", bundle(["true"], linux__personality={"domain": "BSD"}), "a")
    assert "unknown linux.personality" in result.stderr


def test_terminal_through_a_console_socket(bundle, oci, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import pty

    path = bundle(["tty"], process__terminal=True)
    master, slave = pty.openpty()
    command = [CORTEN_OCI, "--root", str(tmp_path / "state"), "run", "-b", path, "a"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    assert process.wait(20) == 0
    shown = b""
    while b"/dev/pts/0" not in shown:
        shown += os.read(master, 4096)  # EIO, an error, once everything has been read
    os.close(master)


def test_features_and_version(oci) -> None:  # type: ignore[no-untyped-def]
    features = json.loads(oci("features").stdout)
    assert "CAP_SYS_ADMIN" in features["linux"]["capabilities"]
    assert features["ociVersionMax"] == "1.2.0"
    assert "spec: 1.2.0" in oci("--version").stdout
