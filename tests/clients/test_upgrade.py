"""Corten is upgraded under running containers, with the docker CLI: another copy's engine takes over."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import corten
from engine import Engine

COUNT = (
    "trap 'over=1' USR1; i=0; while [ -z \"$over\" ]; do echo line $i; i=$((i+1)); usleep 20000; done; "
    "echo end $i; exit $1"
)
MANY = 20


@pytest.fixture
def next_version(tmp_path: Path) -> list[str]:
    """The command of `cortend` in a further installed copy."""
    shutil.copytree(Path(corten.__file__).parent, tmp_path / "corten")
    script = tmp_path / "cortend"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "from corten.daemon.main import main\nsys.exit(main())\n"
    )
    return [sys.executable, str(script)]


def is_whole(lines: list[str]) -> bool:
    """Whether these are all the lines of a container that counts."""
    return len(lines) > 1 and lines == [
        *(f"line {n}" for n in range(len(lines) - 1)),
        f"end {len(lines) - 1}",
    ]


def processes(engine: Engine) -> dict[str, tuple[int, str]]:
    """(pid, command line) of those that outlive engines, by the name that `ps` shows."""
    found = {}
    for line in engine.run("ps", "-eo", "pid=,comm=,args=").stdout.splitlines():
        pid, name, command = line.split(maxsplit=2)
        if name in ("corten-super", "corten-logs", "corten-janitor", "corten-netd", "corten-relay"):
            found[name] = (int(pid), command)
    return found


def test_containers_go_on_under_another_version(
    engine_with_busybox: Callable[..., Engine], next_version: list[str]
) -> None:
    engine = engine_with_busybox()
    docker = lambda *command: engine.run("docker", *command).stdout  # noqa: E731
    docker("network", "create", "net")
    for number in range(MANY):
        docker("run", "-d", "--name", f"c{number}", "busybox", "sh", "-c", COUNT, "sh", str(number))
    docker("run", "-d", "--name", "server", "--network", "net", "busybox", "sleep", "1000")
    docker("run", "-dt", "--name", "shell", "--network", "net", "busybox", "sh")
    attached = engine.popen("docker", "attach", "--sig-proxy=false", "c1")
    entered = engine.popen("docker", "exec", "shell", "sh", "-c", "echo in; sleep 2; touch /done; sleep 1000")
    assert attached.stdout is not None
    assert attached.stdout.readline().startswith("line")
    assert entered.stdout is not None
    assert entered.stdout.readline() == "in\n"
    before = processes(engine)

    assert engine.stop() == 0
    engine.program = next_version
    engine.start()

    after = processes(engine)
    assert after["corten-super"][0] == before["corten-super"][0]
    folder = str(Path(next_version[1]).parent)
    assert folder in after["corten-super"][1]
    for client in (attached, entered):  # both are told that it is over, and neither hangs
        client.communicate(timeout=20)
    assert docker("exec", "shell", "nslookup", "server").count("server") >= 1
    assert docker("exec", "c3", "echo", "hello") == "hello\n"
    following = engine.popen("docker", "logs", "-f", "c5")
    for number in range(MANY):
        docker("kill", "-s", "USR1", f"c{number}")
        assert docker("wait", f"c{number}").strip() == str(number)
        assert is_whole(docker("logs", f"c{number}").splitlines())
    assert is_whole(following.communicate(timeout=60)[0].splitlines())
    docker("exec", "shell", "sh", "-c", "until [ -e /done ]; do usleep 10000; done")
    docker("stop", "-t", "0", "server")
    assert docker("inspect", "-f", "{{.State.ExitCode}}", "server") == "137\n"
    assert docker("run", "--rm", "--network", "net", "busybox", "echo", "new") == "new\n"
    docker("rm", "-f", "shell")  # the last whose output somebody must hold: now the log writer can go, too
    until(lambda: folder in processes(engine).get("corten-logs", (0, ""))[1])
    commands = {name: command for name, (_, command) in processes(engine).items()}
    assert {name for name, command in commands.items() if folder in command} == set(commands)
    assert subprocess.run(["grep", "-c", "Traceback", engine.exec_root / "supervisor.log"]).returncode == 1


def test_a_connection_through_the_relay_goes_on(
    engine_with_busybox: Callable[..., Engine], next_version: list[str], tmp_path: Path
) -> None:
    """The old relay serves it to its end, the new one has the port."""
    engine = engine_with_busybox()
    mode = "corten.publish-mode=socket"
    serve = ["busybox", "nc", "-ll", "-p", "7", "-e", "cat"]
    engine.run("docker", "run", "-d", "--name", "echo", "--label", mode, "-p", "8097:7", *serve)
    words, heard = tmp_path / "words", tmp_path / "heard"
    os.mkfifo(words)
    heard.touch()
    client = engine.popen("sh", "-c", f"busybox nc 127.0.0.1 8097 <{words} >{heard}")
    with words.open("w", buffering=1) as line:
        line.write("one\n")
        until(lambda: heard.read_text() == "one\n")
        before = processes(engine)["corten-relay"][0]
        engine.kill()
        engine.program = next_version
        engine.start()
        until(lambda: relays(engine) > {before})
        line.write("two\n")
        until(lambda: heard.read_text() == "one\ntwo\n")
        fresh = "echo three | busybox nc -w 5 127.0.0.1 8097"
        assert engine.run("sh", "-c", fresh).stdout == "three\n"
    client.communicate(timeout=20)
    until(lambda: len(relays(engine)) == 1)
    assert before not in relays(engine)
    engine.run("docker", "rm", "-f", "echo")


_ANSWERS_LATE = """
import os, socket, sys, time
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", 7))
os.mkdir(sys.argv[1] + "/listens")
_, client = sock.recvfrom(100)
os.mkdir(sys.argv[1] + "/asked")
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.01)
sock.sendto(b"late", client)
"""
_ASKS = """
import socket
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.settimeout(60)
sock.sendto(b"question", ("127.0.0.1", 8098))
print(sock.recv(100).decode())
"""


def test_a_datagrams_answer_through_the_relay_arrives(
    engine_with_busybox: Callable[..., Engine], next_version: list[str], tmp_path: Path
) -> None:
    """The new relay has the client that asked the old one."""
    engine = engine_with_busybox()
    published = ("--label", "corten.publish-mode=socket", "-p", "8098:7/udp")
    engine.run("docker", "run", "-d", "--name", "late", *published, "busybox", "sleep", "1000")
    pid = engine.run("docker", "inspect", "-f", "{{.State.Pid}}", "late").stdout.strip()
    server = engine.popen("nsenter", "-t", pid, "-n", sys.executable, "-c", _ANSWERS_LATE, str(tmp_path))
    until((tmp_path / "listens").exists)
    client = engine.popen(sys.executable, "-c", _ASKS)
    until((tmp_path / "asked").exists)
    before = relays(engine)
    engine.kill()
    engine.program = next_version
    engine.start()
    until(lambda: len(relays(engine)) == 1 and relays(engine) != before)
    (tmp_path / "go").mkdir()
    assert client.communicate(timeout=60)[0] == "late\n"
    server.communicate(timeout=20)
    engine.run("docker", "rm", "-f", "late")


def relays(engine: Engine) -> set[int]:
    return {
        int(pid) for pid in engine.run("ps", "-C", "corten-relay", "-o", "pid=", check=False).stdout.split()
    }


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
