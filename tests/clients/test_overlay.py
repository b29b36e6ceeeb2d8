"""Overlay networks: engines in namespaces of their own, joined by a veth that knows nothing of containers."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine

CORTEN = str(Path(sys.executable).with_name("corten"))
LEFT, RIGHT = "192.0.2.1", "192.0.2.2"
PEERS = f"corten.overlay.peers={LEFT},{RIGHT}"
SUBNET = "10.77.0.0/24"
SERVER = ["sh", "-c", "while :; do hostname | nc -l -p 80; done"]


@pytest.fixture
def pair(engine_with_busybox: Callable[..., Engine]) -> tuple[Engine, Engine]:
    """Two engines that reach each other at LEFT and RIGHT, over a link with an MTU of 1400 bytes."""
    engines = (engine_with_busybox(), engine_with_busybox())
    ends = [["name", "uplink", "mtu", "1400", "netns", str(each.sandbox.pid)] for each in engines]
    subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True)
    for each, address in zip(engines, (LEFT, RIGHT), strict=True):
        each.run("ip", "addr", "add", f"{address}/24", "dev", "uplink")
        each.run("ip", "link", "set", "uplink", "up")
    return engines


def create(engine: Engine, *options: str, client: str = "docker") -> None:
    engine.run(
        client, "network", "create", "-d", "overlay", "--attachable", "--subnet", SUBNET, "-o", PEERS, *options, "far"
    )  # fmt: skip


def start(engine: Engine, name: str, *options: str) -> str:
    """A container on the network; returns its address."""
    command = [
        "docker",
        "run",
        "-d",
        "--name",
        name,
        "--hostname",
        f"{name}-host",
        "--network",
        "far",
        *options,
    ]
    engine.run(*command, "busybox", *SERVER)
    (document,) = json.loads(engine.run("docker", "inspect", name).stdout)
    return str(document["NetworkSettings"]["Networks"]["far"]["IPAddress"])


def ping(engine: Engine, container: str, address: str, *options: str) -> int:
    command = ["docker", "exec", container, "ping", "-c1", "-w5", *options, address]
    return engine.run(*command, check=False).returncode


def ask(engine: Engine, container: str, address: str, port: int = 80) -> str:
    """The host name of who serves there (`SERVER`), once it listens."""
    command = (
        f"for i in $(seq 200); do nc -w 5 {address} {port} </dev/null && exit 0; usleep 20000; done; exit 1"
    )
    return engine.run("docker", "exec", container, "sh", "-c", command, check=False).stdout


@pytest.mark.parametrize("client", ["docker", CORTEN])
def test_containers_of_two_engines_are_on_one_network(pair: tuple[Engine, Engine], client: str) -> None:
    left, right = pair
    for engine in pair:
        create(engine, client=client)
    one, two, three = start(left, "one"), start(right, "two"), start(right, "three")
    assert (one, two, three) == ("10.77.0.2", "10.77.0.128", "10.77.0.129")  # each engine its half
    assert ping(left, "one", two) == ping(right, "two", one) == ping(right, "two", three) == 0
    assert ping(left, "one", two, "-s", "1322") == 0  # 1350 bytes, the MTU
    assert ask(left, "one", two) == "two-host\n"
    link = right.run("docker", "exec", "two", "ip", "link", "show", "eth0").stdout
    assert "mtu 1350" in link
    (document,) = json.loads(left.run(client, "network", "inspect", "far").stdout)
    assert document["Peers"] == [{"Name": LEFT, "IP": LEFT}, {"Name": RIGHT, "IP": RIGHT}]
    assert (document["Driver"], document["Attachable"]) == ("overlay", True)
    assert document["IPAM"]["Config"] == [{"Subnet": SUBNET, "IPRange": "10.77.0.0/25"}]


def test_the_gateway_is_everybodys_own(pair: tuple[Engine, Engine]) -> None:
    left, right = pair
    for engine in pair:
        create(engine)
    start(left, "one", "-p", "8080:80")
    start(right, "two")
    for engine, container in ((left, "one"), (right, "two")):
        assert ping(engine, container, "10.77.0.1") == 0
        assert ping(engine, container, LEFT) == ping(engine, container, RIGHT) == 0  # masqueraded
    assert ask(right, "two", LEFT, 8080) == "one-host\n"


def test_an_engine_that_is_killed_interrupts_nothing(pair: tuple[Engine, Engine]) -> None:
    left, right = pair
    for engine in pair:
        create(engine)
    start(left, "one")
    two = start(right, "two")
    right.kill()
    assert ping(left, "one", two) == 0
    right.start()
    three = start(right, "three")
    assert three != two
    assert ping(left, "one", two) == ping(left, "one", three) == 0
    right.kill()  # and as after a reboot
    for name in right.run("ip", "-br", "link").stdout.split():
        if name.startswith(("vx-", "br-")):
            right.run("ip", "link", "del", name)
    right.start()
    right.run("docker", "restart", "-t", "0", "two", "three")
    assert ping(right, "two", start(left, "four")) == 0


def test_removal_leaves_nothing(pair: tuple[Engine, Engine]) -> None:
    left, _ = pair
    links, rules = left.run("ip", "-br", "link").stdout, left.run("nft", "list", "ruleset").stdout
    create(left)
    start(left, "one")
    assert "vx-" in left.run("ip", "-br", "link").stdout
    left.run("docker", "rm", "-f", "one")
    left.run("docker", "network", "rm", "far")
    after = left.run("ip", "-br", "link").stdout
    assert "vx-" not in after
    assert "br-" not in after
    assert left.run("nft", "list", "ruleset").stdout == rules
    assert "br-" not in links


def test_frames_of_strangers_are_dropped(pair: tuple[Engine, Engine]) -> None:
    """Who is no peer reaches the UDP port, and is not heard, also when somebody has emptied the firewall."""
    left, right = pair
    create(left, "-o", "com.docker.network.driver.overlay.vxlanid_list=4711")
    one = start(left, "one")
    right.run("ip", "addr", "add", "192.0.2.3/24", "dev", "uplink")

    def heard_from(address: str) -> bool:
        link = f"spy type vxlan id 4711 dstport 4789 local {address} remote {LEFT}"
        right.run("ip", "link", "add", *link.split())
        right.run("ip", "addr", "add", "10.77.0.200/24", "dev", "spy")
        right.run("ip", "link", "set", "spy", "up")
        answered = right.run("busybox", "ping", "-c1", "-w2", one, check=False).returncode == 0
        right.run("ip", "link", "del", "spy")
        return answered

    assert heard_from(RIGHT)
    assert not heard_from("192.0.2.3")
    left.run("nft", "flush", "ruleset")
    left.run("docker", "network", "ls")  # by then it has been written again
    assert not heard_from("192.0.2.3")


def test_a_number_that_is_taken(pair: tuple[Engine, Engine]) -> None:
    left, _ = pair
    number = "com.docker.network.driver.overlay.vxlanid_list=4097"
    create(left, "-o", number)
    command = ["docker", "network", "create", "-d", "overlay", "--subnet", "10.78.0.0/24", "-o", PEERS]
    done = left.run(*command, "-o", number, "other", check=False)
    assert "network number (VNI) 4097 is used by another link on UDP port 4789" in done.stderr
    assert left.run(*command, "other").returncode == 0
