"""How containers find each other: names at 127.0.0.11, forwarding, and what dies without harm."""

import json
import sys
import time
from collections.abc import Iterator

import pytest
from recording.session import Session

from engine import Engine
from nameserver import UPSTREAM, upstream


@pytest.fixture
def run(engine: Engine, session: Session) -> Iterator[Engine]:
    session.clean()
    engine.run("docker", "network", "create", "mine")
    yield engine
    engine.run("sh", "-c", "docker ps -qa | xargs -r docker rm -f; docker network prune -f")


def look_up(engine: Engine, container: str, name: str) -> set[str]:
    """Addresses or names, by the container's own nslookup."""
    done = engine.run("docker", "exec", container, "busybox", "nslookup", name, check=False)
    answer = done.stdout.partition("answer:")[2] or done.stdout.partition(":53")[2]
    return {
        line.partition("=" if "name =" in line else ":")[2].strip()
        for line in answer.splitlines()
        if line.startswith("Address") or "name =" in line
    }


def start(engine: Engine, name: str, *options: str) -> str:
    """Start a container; its first address."""
    engine.run("docker", "run", "-d", "--name", name, *options, "busybox", "sleep", "300")
    (document,) = json.loads(engine.run("docker", "inspect", name).stdout)
    places = document["NetworkSettings"]["Networks"]
    return str(next(iter(places.values()))["IPAddress"])


def netd_pid(engine: Engine) -> int:
    """The resolver process among the sandbox's."""
    inside = engine.run("sh", "-c", "grep -l corten-netd /proc/[0-9]*/comm").stdout.split("/")[2]
    return int(inside)


def test_names_aliases_ids_and_reverse(run: Engine) -> None:
    web = start(run, "web", "--network", "mine", "--network-alias", "al", "--hostname", "hh")
    other = start(run, "other", "--network", "mine", "--network-alias", "al")
    identifier = run.run("docker", "inspect", "-f", "{{.Id}}", "web").stdout[:12]
    for name in ("web", "WEB", "web.mine", "hh", identifier):
        assert look_up(run, "other", name) == {web}, name
    assert look_up(run, "other", "al") == look_up(run, "other", "al.mine") == {web, other}
    assert look_up(run, "other", web) == {"web.mine"}
    run.run("docker", "rename", "web", "renamed")
    assert look_up(run, "other", "web") == set()
    assert look_up(run, "other", "renamed") == {web}
    run.run("docker", "rm", "-f", "renamed")
    assert look_up(run, "other", "al") == {other}


def test_names_are_of_networks_and_come_and_go_with_them(run: Engine) -> None:
    run.run("docker", "network", "create", "theirs")
    start(run, "stranger", "--network", "theirs")
    web = start(run, "web", "--network", "mine")
    start(run, "plain")
    assert look_up(run, "stranger", "web") == look_up(run, "stranger", "web.mine") == set()
    assert "nameserver 127.0.0.11" not in run.run("docker", "exec", "plain", "cat", "/etc/resolv.conf").stdout
    run.run("docker", "network", "connect", "--alias", "guest", "mine", "plain")
    assert "nameserver 127.0.0.11" in run.run("docker", "exec", "plain", "cat", "/etc/resolv.conf").stdout
    assert look_up(run, "plain", "web") == {web}
    assert len(look_up(run, "web", "guest")) == 1
    run.run("docker", "network", "disconnect", "mine", "plain")
    assert look_up(run, "web", "guest") == set()
    run.run("docker", "network", "connect", "mine", "stranger")
    assert look_up(run, "stranger", "web") == {web}


def test_a_name_server_in_the_container_can_have_port_53(run: Engine) -> None:
    start(run, "dns", "--network", "mine")
    bound = run.run(
        "docker", "exec", "dns", "busybox", "timeout", "0.2", "busybox", "nc", "-l", "-p", "53", check=False
    )
    assert "in use" not in bound.stderr
    assert look_up(run, "dns", "dns")


def test_killing_engine_and_resolver_harms_nobody(run: Engine) -> None:
    web = start(run, "web", "--network", "mine")
    start(run, "client", "--network", "mine")
    asking = "i=0; while [ $i -lt 20 ]; do busybox nslookup web >/dev/null && i=$((i+1)) || echo lost; done"
    alone = run.popen("docker", "exec", "client", "sh", "-c", f"sleep 0.5; {asking}; echo done > /tmp/done")
    time.sleep(0.2)
    run.kill()
    deadline = time.monotonic() + 20
    alone.communicate(timeout=20)
    run.start()
    while run.run("docker", "exec", "client", "cat", "/tmp/done", check=False).stdout != "done\n":
        assert time.monotonic() < deadline
    late = start(run, "late", "--network", "mine")
    assert look_up(run, "client", "late") == {late}
    before = netd_pid(run)
    run.run("kill", "-9", str(before))
    while not look_up(run, "client", "web"):
        assert time.monotonic() < deadline
    assert look_up(run, "client", "web") == {web}
    assert netd_pid(run) != before
    run.run("docker", "rm", "-f", "web")
    assert look_up(run, "client", "web") == set()


def test_other_names_are_asked_of_the_real_servers(run: Engine) -> None:
    run.run("docker", "network", "create", "--internal", "inner")
    with upstream(run):
        start(run, "client", "--network", "mine", "--dns", UPSTREAM)
        start(run, "locked", "--network", "inner", "--dns", UPSTREAM)
        assert look_up(run, "client", "example.org") == {"198.51.100.1"}
        assert look_up(run, "client", "client")
        assert look_up(run, "locked", "locked")
        assert look_up(run, "locked", "example.org") == set()
        assert run.run("docker", "exec", "client", "cat", "/etc/resolv.conf").stdout.count(UPSTREAM) == 1
        assert len(_ask_by_tcp(run, "client", "big.example.org")) > 512


def _ask_by_tcp(engine: Engine, container: str, name: str) -> bytes:
    """The answer's bytes, asked over TCP from within the container's namespace."""
    pid = engine.run("docker", "inspect", "-f", "{{.State.Pid}}", container).stdout.strip()
    script = (
        "import socket, struct, sys\n"
        "name = b''.join(bytes((len(p),)) + p.encode() for p in sys.argv[1].split('.')) + b'\\0'\n"
        "query = struct.pack('>HHHHHH', 9, 256, 1, 0, 0, 0) + name + struct.pack('>HH', 1, 1)\n"
        "s = socket.create_connection(('127.0.0.11', 53), 5)\n"
        "s.sendall(len(query).to_bytes(2, 'big') + query)\n"
        "data = b''\n"
        "while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], 'big'): data += s.recv(65535)\n"
        "print(data[2:].hex())\n"
    )
    done = engine.run("nsenter", "-t", pid, "-n", sys.executable, "-c", script, name)
    return bytes.fromhex(done.stdout.strip())
