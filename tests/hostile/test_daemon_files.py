"""What the engine keeps on disk and in the kernel: who can get at it, and what attacks leave behind."""

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from imagefiles import symlink


def _modes(top):
    """path -> mode of everything at and below `top` that is not a container's own content."""
    found = {str(top): stat.S_IMODE(os.lstat(top).st_mode)}
    for parent, directories, files in os.walk(top):
        for name in directories + files:
            status = os.lstat(os.path.join(parent, name))
            if not stat.S_ISLNK(status.st_mode):
                found[os.path.join(parent, name)] = stat.S_IMODE(status.st_mode)
        directories[:] = [d for d in directories if d not in ("upper", "work", "_data", "layers")]
    return found


def test_directories_and_sockets_are_closed(attacker, plain):
    """CVE-2021-41089, CVE-2021-41091: other users of the host neither read nor pass through."""
    sleeper = attacker.create(plain, "sleep", "60", host={"Binds": ["kept:/data"]})
    attacker.start(sleeper)
    root, run = attacker.engine.root, attacker.engine.exec_root
    assert stat.S_IMODE(root.stat().st_mode) == 0o710
    assert stat.S_IMODE(run.stat().st_mode) in (0o700, 0o710, 0o711)
    assert stat.S_IMODE((root / "containers" / sleeper).stat().st_mode) == 0o710
    for path, mode in _modes(run).items():
        assert not mode & 0o006 or not stat.S_ISSOCK(os.lstat(path).st_mode), (path, oct(mode))
    assert stat.S_IMODE(attacker.engine.socket.stat().st_mode) == 0o660
    for name in ("supervisor.sock", "logs.sock", "janitor.sock", "exits"):
        assert stat.S_IMODE((run / name).stat().st_mode) == 0o600, name
    # The root keeps others out; within it, what holds secrets (environments, logs) is closed once more.
    readable = [path for path, mode in _modes(root / "containers").items() if mode & 0o007]
    assert {os.path.basename(path) for path in readable} <= {
        "upper",
        "work",
        "hosts",
        "hostname",
        "resolv.conf",
    }


def test_another_user_reaches_nothing(attacker, plain):
    sleeper = attacker.create(plain, "sleep", "60")
    attacker.start(sleeper)
    root, run = attacker.engine.root, attacker.engine.exec_root
    paths = [
        root / "meta.db",
        root / "containers" / sleeper,
        root / "blobs",
        run / "supervisor.sock",
        run / "tasks",
    ]
    os.chmod(attacker.engine.directory, 0o755)
    script = "import os, sys; os.setgid(65534); os.setgroups([]); os.setuid(65534)\n"
    script += "print([p for p in sys.argv[1:] if os.access(p, os.F_OK)])"
    command = ["python3", "-I", "-c", script, *map(str, paths)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
    assert subprocess.run(
        ["python3", "-I", "-c", script.replace("F_OK", "W_OK"), str(attacker.engine.socket)],
        capture_output=True, text=True, check=True,
    ).stdout == "[]\n"  # fmt: skip


def test_no_abstract_sockets(attacker, plain):
    """CVE-2020-15157's sibling CVE-2020-15257: an abstract socket is in reach of --network=host."""
    attacker.sh(plain, "true")
    seen = attacker.docker("run", "--rm", "--network=host", plain, "cat", "/proc/net/unix").stdout
    assert "corten.sock" in seen and "@" not in seen


def test_trees_of_any_depth_are_removed(attacker, tool):
    """5,000 directories, each in the one before, defeat recursion and path names."""
    image = attacker.image(tool)
    container = attacker.create(image, "tool", "deep", "5000", WorkingDir="/tmp")
    assert attacker.start(container)[0] == 204
    assert attacker.wait(container) == 0
    volume = attacker.create(image, "tool", "deep", "5000", WorkingDir="/data", Volumes={"/data": {}})
    assert attacker.start(volume)[0] == 204
    assert attacker.wait(volume) == 0
    for made in (container, volume):
        attacker.remove(made)
    deadline = time.monotonic() + 20
    while os.listdir(attacker.engine.root / "tmp") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert os.listdir(attacker.engine.root / "tmp") == []
    assert not (attacker.engine.root / "containers" / container).exists()


def test_links_in_a_container_do_not_lead_the_deletion_out(attacker, plain, tmp_path):
    (tmp_path / "kept").write_text("kept")
    links = [f"ln -s {tmp_path} /tmp/{name}" for name in ("a", "b", ".wh.x")]
    container = attacker.create(
        plain, "sh", "-c", "; ".join([*links, "mkdir /tmp/d", f"ln -s {tmp_path} /tmp/d/e"])
    )
    assert attacker.start(container)[0] == 204
    assert attacker.wait(container) == 0
    attacker.remove(container)
    deadline = time.monotonic() + 20
    while os.listdir(attacker.engine.root / "tmp") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "kept").read_text() == "kept"


def _held(attack):
    """What could be left behind: descriptors of all processes, mounts, cgroups, links, directories."""
    engine = attack.engine
    fds = {}
    namespace = os.readlink(f"/proc/{engine.sandbox.pid}/ns/pid")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            if name.startswith("corten") and os.readlink(process / "ns" / "pid") == namespace:
                fds[name] = len(os.listdir(process / "fd"))
        except FileNotFoundError:
            continue
    assert {"cortend", "corten-super", "corten-logs", "corten-janitor"} <= set(fds)
    mounts = Path(f"/proc/{engine.sandbox.pid}/mountinfo").read_text().count("\n")
    cgroups = [str(p) for p in Path("/sys/fs/cgroup").glob(f"*/{engine.cgroup}/*") if p.is_dir()]
    links = subprocess.run(
        engine.sandbox.command("ip", "-o", "link"), capture_output=True, text=True, check=True
    ).stdout
    names = [line.split()[1] for line in links.splitlines()]
    containers = os.listdir(engine.root / "containers")
    return {
        "fds": fds, "mounts": mounts, "cgroups": cgroups, "tasks": os.listdir(engine.exec_root / "tasks"),
        "links": len(names), "containers": containers, "tmp": os.listdir(engine.root / "tmp"),
    }  # fmt: skip


def test_failed_starts_leave_nothing(attack):
    """Every way to fail, many times: afterwards the engine holds what it held before."""
    image = attack.image(symlink("proc2", "/proc/1/root"))
    bad_proc = attack.image(symlink("proc", "/tmp"), without="proc")
    ways = [
        (image, {"Cmd": ["not there"]}, {}),
        (image, {"Cmd": ["/etc/passwd"]}, {}),
        (image, {"Cmd": ["true"], "WorkingDir": "/etc/passwd"}, {}),
        (image, {"Cmd": ["true"], "User": "nobody-here"}, {}),
        (image, {"Cmd": ["true"]}, {"Binds": ["/etc:/etc/passwd"]}),
        (image, {"Cmd": ["true"]}, {"Binds": ["/etc/passwd:/etc"]}),
        (image, {"Cmd": ["true"], "Tty": True}, {"Binds": ["/etc:/dev/pts"]}),
        (image, {"Cmd": ["true"]}, {"Tmpfs": {"/data": "size=nonsense"}}),
        (image, {"Cmd": ["true"]}, {"Sysctls": {"net.ipv4.no_such_key": "1"}}),
        (image, {"Cmd": ["true"]}, {"Sysctls": {"kernel.sem": "nonsense"}}),
        (image, {"Cmd": ["true"], "Env": ["X=" + "x" * 3_000_000]}, {}),
        (image, {"Cmd": ["true"] + ["x" * 100_000] * 30}, {}),
        (bad_proc, {"Cmd": ["true"]}, {}),
        (bad_proc, {"Cmd": ["true"]}, {"NetworkMode": "bridge"}),
        (
            image,
            {"Cmd": ["not there"]},
            {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": ""}]}},
        ),
    ]
    sleeper = attack.create(image, "sleep", "600")
    attack.start(sleeper)

    def attack_once():
        for used, settings, host in ways:
            settings = dict(settings)
            container = attack.create(used, *settings.pop("Cmd"), host=host, **settings)
            status, text = attack.start(container)
            assert status >= 400, (settings, host)
            attack.remove(container)
        for command in ("not there", "/etc/passwd"):
            attack.exec(sleeper, command)
            attack.exec(sleeper, command, Tty=True)
        attack.exec(sleeper, "true", WorkingDir="/etc/passwd")
        attack.exec(sleeper, "true", User="nobody-here")

    attack_once()
    before = _settled(attack)
    for _ in range(5):
        attack_once()
    after = _settled(attack)
    grown = {name: count - before["fds"][name] for name, count in after.pop("fds").items()}
    assert max(grown.values()) < 5, grown  # not one for each time
    del before["fds"]
    assert after == before


def _settled(attack):
    """What is held as soon as that no longer changes."""
    deadline = time.monotonic() + 15
    held = _held(attack)
    while time.monotonic() < deadline:
        time.sleep(0.7)
        before, held = held, _held(attack)
        if held == before:
            break
    return held


@pytest.mark.parametrize("megabytes", [3])
def test_huge_requests_harm_nobody(attack, megabytes):
    """What the kernel refuses to execve (E2BIG) is refused, and everything else goes on."""
    image = attack.image()
    sleeper = attack.create(image, "sleep", "600")
    attack.start(sleeper)
    container = attack.create(image, "true", Env=[f"V{n}=" + "x" * 100_000 for n in range(megabytes * 10)])
    status, text = attack.start(container)
    assert status == 400 and "argument list too long" in text
    assert attack.exec(sleeper, "echo", "alive") == (200, "alive\n")
    events = json.loads(attack.engine.request("GET", f"/containers/{sleeper}/json")[1])
    assert events["State"]["Running"] is True
