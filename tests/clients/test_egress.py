"""What containers may reach outside: by names that our resolver knows, by the docker CLI and by `corten`."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine
from nameserver import ANSWER, UPSTREAM, upstream
from sandbox import child_of

CORTEN = str(Path(sys.executable).with_name("corten"))
_SERVE = """
import socket, sys, threading
def serve(server):
    while True: server.accept()[0].close()
for server in [socket.create_server((sys.argv[1], port)) for port in (443, 80)]:
    threading.Thread(target=serve, args=(server,)).start()
print("ready", flush=True)
"""
_TRY = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
except OSError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def run(engine: Engine, session: Session) -> Iterator[Engine]:
    session.clean()
    engine.run("docker", "network", "create", "mine")
    with upstream(engine), outside(engine):
        yield engine
    engine.run("sh", "-c", "docker ps -qa | xargs -r docker rm -f; docker network prune -f")


@contextmanager
def outside(engine: Engine) -> Iterator[None]:
    """Servers at the address that all names stand for."""
    engine.run("ip", "addr", "add", f"{ANSWER}/32", "dev", "lo")
    server = engine.popen(sys.executable, "-c", _SERVE, ANSWER)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield
    finally:
        os.kill(child_of(server.pid), signal.SIGKILL)
        server.communicate()
        engine.run("ip", "addr", "del", f"{ANSWER}/32", "dev", "lo")


class Container:
    """A container that tries to get outside."""

    def __init__(self, engine: Engine, name: str, *options: str, client: str = "docker") -> None:
        self.engine, self.name = engine, name
        flags = ("--name", name, "--dns", UPSTREAM, *options)
        engine.run(client, "run", "-d", *flags, "busybox", "sleep", "300")
        self._pid = engine.run("docker", "inspect", "-f", "{{.State.Pid}}", name).stdout.strip()

    def looks_up(self, name: str) -> bool:
        done = self.engine.run("docker", "exec", self.name, "busybox", "nslookup", name, check=False)
        return ANSWER in done.stdout

    def reaches(self, port: int, address: str = ANSWER) -> bool:
        """Whether a connection from within the container's network comes about."""
        command = ("nsenter", "-t", self._pid, "-n", sys.executable, "-c", _TRY, address, str(port))
        return self.engine.run(*command, check=False).returncode == 0


def until(condition: Callable[[], bool]) -> bool:
    """Whether something comes true before long."""
    return any(condition() for _ in range(100))


def denial(engine: Engine, destination: str) -> dict[str, str]:
    """Waits for the event that tells of a refusal; {} if it does not come."""
    for _ in range(100):
        now = str(time.time())
        told = ("docker", "events", "--since", "1h", "--until", now, "--filter", "event=egress-denied")
        for line in engine.run(*told, "--format", "json").stdout.splitlines():
            attributes: dict[str, str] = json.loads(line)["Actor"]["Attributes"]
            if attributes["destination"] == destination:
                return attributes
    return {}


def test_addresses_of_allowed_names_and_nothing_else(run: Engine) -> None:
    web = Container(
        run, "web", "--network", "mine", "--label", "corten.egress=allow=*.example.com:443,example.org"
    )
    free = Container(run, "free", "--network", "mine")
    assert not web.reaches(443)  # not before it has asked
    assert not web.looks_up("smuggled-data.attacker.net")
    assert not web.looks_up("example.com")  # "*." is what is below
    assert free.looks_up("smuggled-data.attacker.net")
    assert not web.reaches(443)  # what others have asked is theirs
    assert web.looks_up("WWW.Example.com")
    assert web.reaches(443)
    assert not web.reaches(80)
    assert web.looks_up("example.org")
    assert web.reaches(80)
    assert not web.reaches(53, UPSTREAM)  # another name server than ours
    event = denial(run, "smuggled-data.attacker.net")
    assert (event["name"], event["type"]) == ("mine", "bridge")
    assert denial(run, f"{UPSTREAM}:53/tcp")


def test_what_was_allowed_stays_when_engine_or_rules_die(run: Engine) -> None:
    web = Container(run, "web", "--network", "mine", "--label", "corten.egress=allow=example.org:443")
    assert web.looks_up("example.org")
    assert web.reaches(443)
    run.kill()
    assert web.reaches(443)
    assert not web.reaches(80)
    run.start()
    assert not web.reaches(80)
    assert until(lambda: web.reaches(443))  # netd is told once the engine has found it
    assert not web.looks_up("example.com")
    run.run("nft", "flush", "ruleset")
    assert until(lambda: "egress_c" in run.run("nft", "list", "ruleset").stdout)
    assert until(lambda: web.reaches(443))
    assert not web.reaches(80)


def test_policy_of_a_network_and_flags(run: Engine) -> None:
    run.run(
        CORTEN, "network", "create", "--egress", f"allow={ANSWER}:80", "--egress", "allow=example.org", "kept"
    )
    assert "allow=198.51.100.1:80,example.org" in run.run("docker", "network", "inspect", "kept").stdout
    web = Container(run, "web", "--network", "kept")
    assert web.reaches(80)
    assert not web.reaches(443)
    assert not web.looks_up("example.com")
    assert web.looks_up("example.org")
    assert web.reaches(443)
    shut = Container(run, "shut", "--network", "mine", "--egress", "deny", client=CORTEN)
    assert not shut.reaches(80)
    lines = run.run(
        CORTEN, "system", "exposure", "--format", "{{.Container}} {{.Egress}}"
    ).stdout.splitlines()
    assert "shut nothing" in lines
    assert "web kept: 198.51.100.1:80, example.org" in lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--label", "corten.egress=open"), "invalid egress policy 'open'"),
        (("--label", "corten.egress=allow=a b"), "is no address, subnet or name"),
        (("--label", "corten.egress=deny", "--network", "host"), "conflicting options"),
        (("--label", "corten.egress=allow=example.com"), "needs a user-defined network"),
    ],
)
def test_what_cannot_be_is_refused(run: Engine, options: tuple[str, ...], words: str) -> None:
    done = run.run("docker", "run", "--rm", *options, "busybox", "true", check=False)
    assert done.returncode == 125
    assert words in done.stderr
