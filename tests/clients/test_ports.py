"""Published ports that come and go while their container runs (`update`, which Docker cannot)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine

CORTEN = str(Path(sys.executable).with_name("corten"))


@pytest.fixture
def run(engine: Engine, session: Session) -> Iterator[Engine]:
    session.clean()
    serve = (
        "for p in 80 81; do mkdir $p; echo $p >$p/index.html; busybox httpd -p $p -h $p; done; exec sleep 300"
    )
    engine.run("docker", "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", serve)
    yield engine
    engine.run("sh", "-c", "docker ps -qa | xargs -r docker rm -f")


def answer(engine: Engine, port: int) -> str:
    """What is said on a port of the host; "" if nobody is there."""
    talk = (
        "import socket\n"
        f"try: s = socket.create_connection(('127.0.0.1', {port}), 5); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n"
        "except OSError: print()\n"
        "else: print(s.makefile('rb').read().decode().partition('\\r\\n\\r\\n')[2])"
    )
    return engine.run(sys.executable, "-c", talk).stdout.strip()


def update(engine: Engine, *flags: str) -> subprocess.CompletedProcess[str]:
    return engine.run(CORTEN, "update", *flags, "web", check=False)


def ports(engine: Engine) -> str:
    return engine.run("docker", "ps", "--filter", "name=web", "--format", "{{.Ports}}").stdout.strip()


def wait_until_it_listens(engine: Engine) -> None:
    engine.run(
        "docker",
        "exec",
        "web",
        "sh",
        "-c",
        "until [ $(busybox netstat -ltn | grep -c ':8[01] ') = 2 ]; do :; done",
    )


def test_ports_come_and_go_and_last(run: Engine) -> None:
    wait_until_it_listens(run)
    assert answer(run, 8080) == "80"
    assert update(run, "--publish-add", "127.0.0.1:8081:81").stdout == "web\n"
    assert (answer(run, 8080), answer(run, 8081)) == ("80", "81")
    assert ports(run) == "0.0.0.0:8080->80/tcp, 127.0.0.1:8081->81/tcp"
    run.kill()
    run.start()
    assert answer(run, 8081) == "81"
    run.run("docker", "restart", "-t0", "web")
    wait_until_it_listens(run)
    assert answer(run, 8081) == "81"
    assert update(run, "--publish-rm", "8080:80", "--publish-add", "8080:81").stdout == "web\n"
    assert answer(run, 8080) == "81"
    assert (
        update(run, "--publish-rm", "81", "--publish-rm", "81/tcp").returncode == 1
    )  # the second finds none
    assert update(run, "--publish-rm", "81").stdout == "web\n"
    assert (answer(run, 8080), answer(run, 8081)) == ("", "")
    assert ports(run) == "80-81/tcp"
    (document,) = json.loads(run.run("docker", "inspect", "web").stdout)
    assert not document["HostConfig"]["PortBindings"]
    run.run("docker", "run", "--rm", "-p", "8080:80", "busybox", "true")  # the port is free again


def test_what_fails_changes_nothing(run: Engine) -> None:
    wait_until_it_listens(run)
    run.run("docker", "run", "-d", "--name", "other", "-p", "9090:80", "busybox", "sleep", "100")
    refused = update(
        run, "--publish-rm", "80", "--publish-add", "7070:81", "--publish-add", "9090:80", "--cpus", "0.5"
    )
    assert "port is already allocated" in refused.stderr
    assert (answer(run, 8080), answer(run, 7070)) == ("80", "")
    (document,) = json.loads(run.run("docker", "inspect", "web").stdout)
    assert document["HostConfig"]["NanoCpus"] == 0
    assert document["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
    assert "port 9999:80/tcp is not published" in update(run, "--publish-rm", "9999:80").stderr


def test_a_stopped_container_has_them_from_its_next_start_on(run: Engine) -> None:
    run.run("docker", "stop", "-t0", "web")
    assert update(run, "--publish-add", "8081:81/tcp", "--publish-rm", "80").stdout == "web\n"
    run.run("docker", "start", "web")
    wait_until_it_listens(run)
    assert (answer(run, 8080), answer(run, 8081)) == ("", "81")
