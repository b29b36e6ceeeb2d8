"""Old holes in other engines' networks, tried on a whole engine: what reaches loopback ports, what DNS carries out."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine import Engine
from nameserver import ANSWER, UPSTREAM, upstream

HOST, OUTSIDE = "192.0.2.1", "192.0.2.9"
_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)
except OSError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def run(engine_with_busybox: Callable[..., Engine]) -> Engine:
    return engine_with_busybox()


@contextmanager
def outside(engine: Engine) -> Iterator[None]:
    """Another machine, "out", on a wire; it sends what is for 127.0.0.1 to us."""
    steps = f"""
        ip netns add out
        ip link add out0 type veth peer name eth0 netns out
        ip addr add {HOST}/24 dev out0
        ip link set out0 up
        ip -n out addr add {OUTSIDE}/24 dev eth0
        ip -n out link set eth0 up
        ip netns exec out sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1
        ip -n out route add 127.0.0.1 via {HOST} dev eth0 src {OUTSIDE} table 100
        ip -n out rule add pref 5 lookup 100
        ip -n out rule add pref 10 lookup local
        ip -n out rule del pref 0
        nft add table inet probe
        nft 'add chain inet probe pre {{ type filter hook prerouting priority -400; }}'
        nft add rule inet probe pre iifname out0 ip daddr 127.0.0.1 counter
    """
    engine.run("sh", "-ec", steps)
    try:
        yield
    finally:
        engine.run("sh", "-c", "ip netns del out; nft delete table inet probe", check=False)


def reached(engine: Engine, address: str, port: int, *prefix: str) -> bool:
    return (
        engine.run(*prefix, sys.executable, "-c", _CONNECT, address, str(port), check=False).returncode == 0
    )


def serve(engine: Engine, *options: str) -> None:
    command = "mkdir /w; busybox httpd -p 80 -h /w; exec sleep 300"
    engine.run("docker", "run", "-d", "--name", "web", *options, "busybox", "sh", "-c", command)
    engine.run("docker", "exec", "web", "sh", "-c", "until busybox netstat -ltn | grep -q ':80 '; do :; done")


@pytest.mark.parametrize("mode", ["nat", "socket"])
def test_ports_on_loopback_are_this_machines(run: Engine, mode: str) -> None:
    """CVE-2020-8558, CVE-2025-54388; also after a firewall's reload has taken the rules (CVE-2025-54410)."""
    with outside(run):
        serve(
            run, "--label", f"corten.publish-mode={mode}", "-p", "127.0.0.1:8080:80", "-p", f"{HOST}:8081:80"
        )
        attacker = ("ip", "netns", "exec", "out")
        for reload in (False, True):
            if reload:
                tables = run.run("nft", "list", "tables").stdout.splitlines()
                run.run("nft", "; ".join(f"delete {line}" for line in tables if "corten" in line))
                while "raw_prerouting" not in run.run("nft", "list", "ruleset").stdout:
                    pass
            assert reached(run, "127.0.0.1", 8080)
            assert reached(run, HOST, 8081, *attacker)
            assert not reached(run, "127.0.0.1", 8080, *attacker)
            assert not reached(run, HOST, 8080, *attacker)
        arrived = run.run("nft", "list", "table", "inet", "probe").stdout.split("packets ")[1].split()[0]
        assert int(arrived) >= 2  # the attacks were ones


def test_dns_carries_nothing_out_of_internal_networks(run: Engine) -> None:
    """CVE-2024-29018."""
    run.run("docker", "network", "create", "--internal", "inner")
    run.run("docker", "network", "create", "outer")
    with upstream(run):
        for name, network in (("locked", "inner"), ("free", "outer")):
            flags = ("--name", name, "--network", network, "--dns", UPSTREAM)
            run.run("docker", "run", "-d", *flags, "busybox", "sleep", "300")
        ask = ("busybox", "nslookup")
        assert ANSWER in run.run("docker", "exec", "free", *ask, "data.example.org", check=False).stdout
        assert ANSWER not in run.run("docker", "exec", "locked", *ask, "data.example.org", check=False).stdout
        assert run.run("docker", "exec", "locked", *ask, "locked", check=False).returncode == 0
