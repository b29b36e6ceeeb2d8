"""Images that attack whoever sets their container up, before or while their program starts."""

import os
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import pytest

from imagefiles import directory, symlink

MARK = b"import os\nos.close(os.open('/imported', os.O_CREAT | os.O_WRONLY))\n"


def test_modules_of_the_image_are_never_imported(attacker):
    """CVE-2019-14271: after pivot_root and setns, /usr/lib/python3 is the attacker's."""
    source = Path(__file__).parents[2] / "src"
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(source)}
    names = set(sys.stdlib_module_names) - set(sys.builtin_module_names)
    encodings = [p.stem for p in (Path(sysconfig.get_path("stdlib")) / "encodings").glob("*.py")]
    paths = [f"{folder}/{name}.py".lstrip("/") for folder in sorted(folders) for name in sorted(names)]
    paths += [f"{sysconfig.get_path('stdlib')}/encodings/{name}.py".lstrip("/") for name in encodings]
    image = attacker.image(*((path, MARK) for path in paths))

    tries = [
        attacker.create(image, "true"),
        attacker.create(image, "true", User="guest", WorkingDir="/made/by/us"),
        attacker.create(image, "true", Tty=True, host={"CapAdd": ["ALL"], "ReadonlyRootfs": False}),
        attacker.create(image, "not there"),
        attacker.create(image, "/etc/passwd"),
        attacker.create(image, "true", WorkingDir="/etc/passwd"),
        attacker.create(image, "true", Env=["NAME=\u20ac", "X=" + "x" * 200_000]),
        attacker.create(image, "true", host={"SecurityOpt": ["no-new-privileges"], "Init": True}),
    ]
    for container in tries:
        attacker.start(container)
    sleeper = attacker.create(image, "sleep", "60")
    attacker.start(sleeper)
    attacker.exec(sleeper, "true")
    attacker.exec(sleeper, "not there")
    attacker.exec(sleeper, "true", Tty=True, User="guest")
    attacker.exec(sleeper, "true", WorkingDir="/etc/passwd")
    assert not [c for c in [*tries, sleeper] if (attacker.upper(c) / "imported").exists()]


@pytest.fixture
def null():
    """The host's /dev/null; put right again should an attack succeed."""
    before = os.stat("/dev/null")
    yield before
    os.chown("/dev/null", before.st_uid, before.st_gid)
    os.chmod("/dev/null", before.st_mode & 0o7777)


def test_the_hosts_null_device_keeps_its_mode(attacker, plain, null):
    """Masked files and unused stdio lead to a /dev/null: root inside may not own the host's."""
    script = """
        for path in /proc/self/fd/0 /proc/1/fd/0 /proc/keys /proc/interrupts /proc/timer_list; do
            chmod 0751 $path; chown 1 $path; touch $path
        done
        exit 0
    """
    attacker.sh(plain, script)
    sleeper = attacker.create(plain, "sleep", "60")
    attacker.start(sleeper)
    attacker.exec(sleeper, "sh", "-c", script)
    now = os.stat("/dev/null")
    assert (now.st_mode, now.st_uid, now.st_mtime_ns) == (null.st_mode, null.st_uid, null.st_mtime_ns)
    assert (
        "works"
        in attacker.sh(plain, "cat < /dev/null > /dev/null && cat; echo x > /dev/null && echo works").stdout
    )


def test_a_volume_over_the_terminals_shows_nothing_of_the_host(attacker, tmp_path):
    """CVE-2025-52565: /dev/pts/ptmx leads to the host's, /dev/pts/N to any directory of the host."""
    (tmp_path / "secret").write_text("CANARY")
    links = [symlink(f"dev/pts/{number}", str(tmp_path)) for number in range(200)]
    for target in ("/dev/pts/ptmx", "/dev/ptmx", "../../dev/ptmx"):
        image = attacker.image(
            directory("dev/pts"),
            directory("dev/console"),
            *links,
            symlink("dev/pts/ptmx", target),
            Volumes={"/dev/pts": {}, "/dev/console": {}},
        )
        container = attacker.create(image, "cat", "/dev/console/secret", Tty=True)
        status, text = attacker.start(container)
        assert status >= 400 and "open terminal" in text
    sleeper = attacker.create(image, "sleep", "60")
    assert attacker.start(sleeper)[0] == 204
    assert "open terminal" in attacker.exec(sleeper, "cat", "/dev/console/secret", Tty=True)[1]


def test_hostile_system_directories(attacker, tmp_path):
    """Links and files where the runtime mounts things: refused, or harmless inside the root."""
    (tmp_path / "canary").mkdir()
    canary = str(tmp_path / "canary")
    for name in ("proc", "sys"):
        for target in (canary, "/tmp", f"../../..{canary}"):
            container = attacker.create(attacker.image(symlink(name, target), without=name), "true")
            status, text = attacker.start(container)
            assert status >= 400 and "must be an ordinary directory" in text, (name, target)
        container = attacker.create(attacker.image((name, b"a file"), without=name), "true")
        assert attacker.start(container)[0] >= 400
    for name in ("dev", "dev/pts", "dev/shm", "dev/mqueue", "sys/fs/cgroup", "etc/hosts"):
        for target in (canary, "/proc", "/proc/self/fd/5", "/proc/sys", f"../../..{canary}"):
            container = attacker.create(
                attacker.image(symlink(name, target), without=name), "cat", "/proc/version"
            )
            attacker.start(container)
            attacker.remove(container)
    assert os.listdir(canary) == []


@pytest.mark.parametrize("device", ["dev/null", "dev/console", "dev/ptmx", "dev/tty"])
def test_devices_of_a_volume_are_not_trusted(attacker, tmp_path, device):
    """VOLUME /dev with links in it (CVE-2025-31133): as with runc nothing is made there, nor used."""
    target = tmp_path / "target"
    target.write_text("untouched")
    image = attacker.image(
        symlink(device, str(target)), symlink("dev/zero", "/etc/passwd"), Volumes={"/dev": {}}
    )
    script = "head -c1 /proc/keys; stat -c '%F %t:%T' /proc/keys"
    assert attacker.sh(image, script).stdout == "character special file 1:3\n"
    attacker.sh(image, script, "-t", check=False)
    assert target.read_text() == "untouched"


def test_a_container_that_stops_whoever_enters_it_stops_nobody_else(attack):
    """SIGSTOP reaches a process that `exec` is bringing in: the supervisor must not wait for it."""
    image = attack.image()
    script = "while :; do kill -STOP -1; done"
    trap = [attack.create(image, "sh", "-c", script) for _ in range(2)]
    for container in trap:
        assert attack.start(container)[0] == 204
    threads = []
    for number in range(40):
        command = (trap[number % 2], "not there") if number % 4 else (trap[number % 2], "true")
        threads.append(threading.Thread(target=attack.exec, args=command, daemon=True))
        threads[-1].start()
        time.sleep(0.01)
    time.sleep(0.5)
    for _ in range(3):
        assert attack.docker("run", "--rm", image, "echo", "alive", timeout_s=20).stdout == "alive\n"
    for container in trap:
        attack.remove(container)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_input_of_others_ends_though_an_entering_process_is_stopped(attack):
    """A stopped process on its way in holds no descriptor of another container."""
    image = attack.image()
    trap = attack.create(image, "sh", "-c", "while :; do kill -STOP -1; done")
    assert attack.start(trap)[0] == 204
    reader = subprocess.Popen(
        attack.engine.sandbox.command(
            "docker", "-H", attack.engine.docker_host, "run", "-i", "--rm", image, "sh", "-c", "cat; echo end"
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin is not None and reader.stdout is not None
    reader.stdin.write("begin\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == "begin\n"
    for _ in range(20):
        threading.Thread(target=attack.exec, args=(trap, "true"), daemon=True).start()
        time.sleep(0.02)
    assert reader.communicate(timeout=20)[0] == "end\n"
