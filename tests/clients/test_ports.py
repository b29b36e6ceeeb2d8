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


SERVE = (
    "for p in 80 81; do mkdir -p $p; echo $p >$p/index.html; busybox httpd -p $p -h $p; done; exec sleep 300"
)


@pytest.fixture
def run(engine: Engine, session: Session) -> Iterator[Engine]:
    session.clean()
    engine.run("docker", "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", SERVE)
    yield engine
    engine.run("sh", "-c", "docker ps -qa | xargs -r docker rm -f")


def answer(engine: Engine, port: int, address: str = "127.0.0.1") -> str:
    """What is said on a port of the host; "" if nobody is there."""
    talk = (
        "import socket\n"
        f"try: s = socket.create_connection(('{address}', {port}), 5); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')\n"
        "except OSError: print()\n"
        "else: print(s.makefile('rb').read().decode().partition('\\r\\n\\r\\n')[2])"
    )
    return engine.run(sys.executable, "-c", talk).stdout.strip()


def started(engine: Engine, *options: str) -> None:
    """Start "web" anew."""
    engine.run("docker", "rm", "-f", "web")
    engine.run("docker", "run", "-d", "--name", "web", *options, "busybox", "sh", "-c", SERVE)
    wait_until_it_listens(engine)


def relay_pids(engine: Engine) -> list[str]:
    """The relay among the sandbox's processes."""
    found = engine.run("sh", "-c", "grep -l corten-relay /proc/[0-9]*/comm", check=False).stdout
    return [line.split("/")[2] for line in found.splitlines()]


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


def test_socket_mode_needs_no_rules_and_outlives_engine_and_relay(run: Engine) -> None:
    started(
        run, "--label", "corten.publish-mode=socket", "-p", "8080:80", "-p", "[::1]:8081:81", "-p", "0:80"
    )
    assert (answer(run, 8080), answer(run, 8081, "::1")) == ("80", "81")
    assert answer(run, 8081) == ""  # published on ::1 only
    assert "8080 : " not in run.run("nft", "list", "ruleset").stdout
    run.run("nft", "add", "table", "inet", "mine")
    run.run("nft", "add", "chain", "inet", "mine", "in", "{ type filter hook input priority 0; }")
    run.run("nft", "add", "rule", "inet", "mine", "in", "tcp", "dport", "8080", "reject")
    assert answer(run, 8080) == ""  # INPUT's rules are obeyed
    run.run("nft", "delete", "table", "inet", "mine")
    listed = ports(run)
    assert "0.0.0.0:8080->80/tcp" in listed
    run.kill()
    assert answer(run, 8080) == "80"
    run.start()
    assert (answer(run, 8080), answer(run, 8081, "::1"), ports(run)) == ("80", "81", listed)
    (before,) = relay_pids(run)
    run.run("kill", "-9", before)
    assert answer(run, 8080) == "80"  # it waits in our socket for the new relay
    (after,) = relay_pids(run)
    assert after != before
    run.kill()
    run.run("kill", "-9", after)  # both at once
    run.start()
    assert (answer(run, 8080), answer(run, 8081, "::1")) == ("80", "81")
    assert update(run, "--publish-rm", "8080:80", "--publish-add", "8080:81").stdout == "web\n"
    assert answer(run, 8080) == "81"
    run.run("docker", "network", "create", "mine")
    run.run(CORTEN, "network", "connect", "--gw-priority", "1", "mine", "web")
    assert answer(run, 8080) == "81"  # by the network that leads out now
    run.run("docker", "rm", "-f", "web")
    run.run("docker", "network", "rm", "mine")
    assert answer(run, 8080) == ""
    run.run("docker", "run", "--rm", "-p", "8080:80", "busybox", "true")
    assert run.run("ss", "-Hltn", "sport = :8080").stdout == ""


def test_socket_mode_of_a_network_with_exceptions(run: Engine) -> None:
    run.run("docker", "network", "create", "-o", "corten.publish-mode=socket", "mine")
    flags = ("--label", "corten.publish-mode=81/tcp=nat", "-p", "8080:80", "-p", "8081:81")
    started(run, "--network", "mine", *flags)
    assert (answer(run, 8080), answer(run, 8081)) == ("80", "81")
    rules = run.run("nft", "list", "ruleset").stdout
    assert ("tcp . 8080 : " in rules, "tcp . 8081 : " in rules) == (False, True)
    for words in (
        ("docker", "network", "create", "-o", "corten.publish-mode=x", "bad"),
        ("docker", "create", "--label", "corten.publish-mode=80=x", "busybox"),
    ):
        assert "use nat or socket" in run.run(*words, check=False).stderr
    run.run("docker", "rm", "-f", "web")
    run.run("docker", "network", "rm", "mine")
