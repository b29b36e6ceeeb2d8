"""Network and IPAM plugins: a real process that makes real veths, through the docker CLI."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import Engine
from sandbox import child_of

_PROGRAM = Path(__file__).with_name("network_plugin.py")
_PATIENCE_S = 20


class Plugin:
    """The plugin "fabric" of an engine."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.activations = 0
        self.socket = engine.exec_root / "plugins/fabric.sock"
        self.socket.parent.mkdir(exist_ok=True)
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        process = self.engine.popen(
            sys.executable, "-I", str(_PROGRAM), str(self.socket), str(self.directory)
        )
        until(self.socket.exists)
        return process

    def stop(self) -> None:
        os.kill(child_of(self.process.pid), signal.SIGKILL)
        self.process.communicate()
        self.socket.unlink(missing_ok=True)

    def holds(self) -> dict[str, int]:
        """How much of each kind it holds."""
        kinds = ("networks", "endpoints", "pools", "addresses")
        return {kind: len(os.listdir(self.directory / kind)) for kind in kinds}

    def calls(self) -> list[str]:
        """What it was asked, in order; each is told once."""
        path = self.directory / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        self.activations += lines.count("Plugin.Activate")
        return [line for line in lines if line != "Plugin.Activate"]


NOTHING = {"networks": 0, "endpoints": 0, "pools": 0, "addresses": 0}


def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in the background."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def plugin(engine_with_busybox: Callable[..., Engine], tmp_path: Path) -> Iterator[Plugin]:
    running = Plugin(engine_with_busybox(), tmp_path)
    yield running
    if running.process.poll() is None:
        running.stop()


def start(engine: Engine, name: str, *options: str) -> dict:  # type: ignore[type-arg]
    engine.run("docker", "run", "-d", "--name", name, *options, "busybox", "sleep", "300")
    (document,) = json.loads(engine.run("docker", "inspect", name).stdout)
    return dict(document["NetworkSettings"]["Networks"])


def ping(engine: Engine, container: str, address: str) -> int:
    return engine.run("docker", "exec", container, "ping", "-c1", "-w5", address, check=False).returncode


def test_life_of_a_plugins_network(plugin: Plugin) -> None:
    engine = plugin.engine
    engine.run(
        "docker", "network", "create", "-d", "fabric", "-o", "a=b", "--subnet", "10.77.0.0/24", "cloth"
    )
    assert plugin.calls() == ["NetworkDriver.GetCapabilities", "NetworkDriver.CreateNetwork"]
    one = start(engine, "one", "--network", "cloth")["cloth"]
    assert plugin.calls() == ["NetworkDriver.CreateEndpoint", "NetworkDriver.Join"]
    two = start(
        engine, "two", "--network", "cloth", "--ip", "10.77.0.9", "--mac-address", "02:00:00:00:00:09"
    )["cloth"]
    assert (one["IPAddress"], one["IPPrefixLen"], one["Gateway"]) == ("10.77.0.2", 24, "10.77.0.1")
    assert one["MacAddress"].startswith("02:99:")
    assert (two["IPAddress"], two["MacAddress"]) == ("10.77.0.9", "02:00:00:00:00:09")
    inside = engine.run("docker", "exec", "two", "ip", "-o", "link").stdout
    assert "plug0" in inside
    assert "02:00:00:00:00:09" in inside
    routes = engine.run("docker", "exec", "one", "ip", "route").stdout
    assert "default via 10.77.0.1 dev plug0" in routes
    assert "198.51.100.0/24 via 10.77.0.1 dev plug0" in routes
    assert "203.0.113.0/24 dev plug0" in routes
    assert ping(engine, "one", "two") == ping(engine, "two", "10.77.0.1") == 0  # by name: our name server
    refused = engine.run("docker", "network", "rm", "cloth", check=False)
    assert "has active endpoints" in refused.stderr
    engine.run("docker", "rm", "-f", "one", "two")
    until(lambda: plugin.holds()["endpoints"] == 0)
    calls = plugin.calls()
    assert plugin.activations == 1
    assert calls.count("NetworkDriver.Leave") == calls.count("NetworkDriver.DeleteEndpoint") == 2
    engine.run("docker", "network", "rm", "cloth")
    assert plugin.holds() == NOTHING
    assert "pb" not in engine.run("ip", "-br", "link").stdout


def test_connecting_a_running_container(plugin: Plugin) -> None:
    engine = plugin.engine
    engine.run("docker", "network", "create", "-d", "fabric", "--subnet", "10.77.0.0/24", "cloth")
    start(engine, "one", "--network", "cloth")
    start(engine, "web")
    engine.run("docker", "network", "connect", "--ip", "10.77.0.7", "cloth", "web")
    assert ping(engine, "one", "10.77.0.7") == 0
    engine.kill()  # what the link was called is known to the next engine, too
    engine.start()
    assert "default via 10.77.0.1 dev plug0" not in engine.run("docker", "exec", "web", "ip", "route").stdout
    engine.run("docker", "network", "disconnect", "bridge", "web")
    assert "default via 10.77.0.1 dev plug0" in engine.run("docker", "exec", "web", "ip", "route").stdout
    engine.run("docker", "network", "disconnect", "cloth", "web")
    assert engine.run("docker", "exec", "web", "ip", "-o", "link").stdout.count("\n") == 1  # lo
    until(lambda: plugin.holds()["endpoints"] == 1)
    engine.run("docker", "network", "connect", "--ip", "10.77.0.8", "cloth", "web")
    assert ping(engine, "one", "10.77.0.8") == 0


def test_addresses_of_an_ipam_plugin(plugin: Plugin) -> None:
    engine = plugin.engine
    engine.run("docker", "network", "create", "--ipam-driver", "fabric", "--ipv6", "mine")
    (document,) = json.loads(engine.run("docker", "network", "inspect", "mine").stdout)
    assert document["Driver"] == "bridge"
    assert document["IPAM"]["Driver"] == "fabric"
    assert [each["Subnet"] for each in document["IPAM"]["Config"]] == ["10.99.0.0/24", "fd00:99::/64"]
    one = start(engine, "one", "--network", "mine")["mine"]
    assert (one["IPAddress"], one["IPPrefixLen"], one["Gateway"]) == ("10.99.0.2", 24, "10.99.0.1")
    assert (one["GlobalIPv6Address"], one["GlobalIPv6PrefixLen"]) == ("fd00:99::2", 64)
    two = start(engine, "two", "--network", "mine", "--ip", "10.99.0.9")["mine"]
    assert two["IPAddress"] == "10.99.0.9"
    assert ping(engine, "one", "two") == 0
    taken = engine.run(
        "docker", "run", "--rm", "--network", "mine", "--ip", "10.99.0.9", "busybox", "true", check=False
    )
    assert "Address already in use" in taken.stderr
    engine.run("docker", "restart", "-t", "0", "two")  # its address is back before it is asked for again
    engine.run("docker", "rm", "-f", "one", "two")
    engine.run("docker", "network", "rm", "mine")
    assert plugin.holds() == NOTHING


def test_both_at_once(plugin: Plugin) -> None:
    engine = plugin.engine
    engine.run(
        "docker",
        "network",
        "create",
        "-d",
        "fabric",
        "--ipam-driver",
        "fabric",
        "--subnet",
        "10.98.0.0/24",
        "cloth",
    )
    engine.run("docker", "network", "create", "plain")
    one = start(engine, "one", "--network", "cloth", "--network", "plain")
    assert one["cloth"]["IPAddress"] == "10.98.0.2"
    assert ping(engine, "one", one["plain"]["Gateway"]) == ping(engine, "one", "10.98.0.1") == 0
    engine.run("docker", "rm", "-f", "one")
    engine.run("docker", "network", "rm", "cloth")
    assert plugin.holds() == NOTHING


def test_refusals_leave_nothing(plugin: Plugin) -> None:
    engine = plugin.engine
    create = ["docker", "network", "create", "--ipam-driver", "fabric"]
    no = engine.run(*create, "-d", "fabric", "-o", "fail=1", "bad", check=False)
    assert "NetworkDriver.CreateNetwork: no such fabric" in no.stderr
    no = engine.run(*create, "-d", "nosuch", "bad", check=False)
    assert 'could not find plugin nosuch in v1 plugin registry: plugin "nosuch" not found' in no.stderr
    no = engine.run("docker", "network", "create", "--ipam-driver", "nosuch", "bad", check=False)
    assert 'plugin "nosuch" not found' in no.stderr
    no = engine.run("docker", "network", "create", "--ipam-driver", "null", "bad", check=False)
    assert "not supported" in no.stderr
    for wrong, method in (("wrong-pool", "RequestPool"), ("wrong-address", "RequestAddress")):
        (plugin.directory / wrong).touch()
        no = engine.run(*create, "bad", check=False)
        assert f"IpamDriver.{method}: plugin fabric: fd00:98::" in no.stderr, no.stderr
        assert "is not of IP version 4" in no.stderr
        until(lambda: plugin.holds() == NOTHING)
        (plugin.directory / wrong).unlink()
    until(lambda: plugin.holds() == NOTHING)
    engine.run(*create, "-d", "fabric", "good")
    engine.run("docker", "network", "create", "first")  # leads out, so it has the ports
    start(engine, "busy", "-p", "8080:80")
    run = ["docker", "run", "--network", "good", "--network", "first", "-p", "8080:80", "busybox", "true"]
    assert "port is already allocated" in engine.run(*run, check=False).stderr
    until(lambda: plugin.holds() == {"networks": 1, "endpoints": 0, "pools": 1, "addresses": 1})
    assert "bad" not in engine.run("docker", "network", "ls").stdout


def test_a_plugin_that_is_away(plugin: Plugin) -> None:
    engine = plugin.engine
    engine.run("docker", "network", "create", "-d", "fabric", "--ipam-driver", "fabric", "cloth")
    start(engine, "one", "--network", "cloth")
    plugin.stop()
    engine.run("docker", "rm", "-f", "one")  # waits for nobody
    no = engine.run("docker", "run", "--network", "cloth", "busybox", "true", check=False)
    assert no.returncode == 125
    assert plugin.holds()["endpoints"] == 1
    no = engine.run("docker", "network", "rm", "cloth", check=False)
    assert no.returncode == 1
    plugin.process = plugin.start()
    assert start(engine, "two", "--network", "cloth")["cloth"]["IPAddress"] == "10.99.0.2"  # free again
    assert plugin.holds()["endpoints"] == 1
    engine.run("docker", "rm", "-f", "two")
    engine.run("docker", "network", "rm", "cloth")
    assert plugin.holds() == NOTHING


def test_what_a_killed_engine_had_begun_is_given_back(plugin: Plugin) -> None:
    engine = plugin.engine
    engine.run("docker", "network", "create", "-d", "fabric", "--subnet", "10.77.0.0/24", "cloth")
    start(engine, "one", "--network", "cloth")
    (plugin.directory / "slow").touch()
    plugin.calls()
    begun = engine.popen("docker", "run", "-d", "--network", "cloth", "busybox", "sleep", "100")
    until(lambda: plugin.holds()["endpoints"] == 2)
    engine.kill()
    begun.communicate()
    (plugin.directory / "slow").unlink()
    engine.start()
    until(lambda: plugin.holds()["endpoints"] == 1)
    assert ping(engine, "one", "10.77.0.1") == 0
    engine.run("docker", "rm", "-f", "one")
    engine.run("sh", "-c", "docker ps -qa | xargs -r docker rm -f")
    engine.run("docker", "network", "rm", "cloth")
    assert plugin.holds() == NOTHING
