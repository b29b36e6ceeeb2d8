"""Networks as users make them: the docker CLI, `corten`, docker-py; and what an engine's death changes."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import APIError
from recording.session import Session

from engine import Engine

# docker-py leaves sockets to the garbage collector.
CORTEN = str(Path(sys.executable).with_name("corten"))
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def run(engine: Engine, session: Session) -> Iterator[Engine]:
    session.clean()
    yield engine
    engine.run("sh", "-c", "docker ps -qa | xargs -r docker rm -f; docker network prune -f")


def inspect(engine: Engine, name: str) -> dict:  # type: ignore[type-arg]
    return json.loads(engine.run("docker", "inspect", name).stdout)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("client", ["docker", CORTEN])
def test_life_of_a_network(run: Engine, client: str) -> None:
    created = run.run(
        client, "network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "--ip-range",
        "10.77.0.128/25", "--aux-address", "router=10.77.0.5", "--label", "a=b", "--attachable", "mine",
    )  # fmt: skip
    identifier = created.stdout.strip()
    (document,) = json.loads(run.run(client, "network", "inspect", "mine").stdout)
    assert (document["Id"], document["Labels"], document["Attachable"]) == (identifier, {"a": "b"}, True)
    assert document["IPAM"]["Config"] == [
        {
            "Subnet": "10.77.0.0/24",
            "IPRange": "10.77.0.128/25",
            "Gateway": "10.77.0.9",
            "AuxiliaryAddresses": {"router": "10.77.0.5"},
        }
    ]
    listed = run.run(client, "network", "ls", "-q", "--filter", "label=a=b", "--filter", "type=custom")
    assert listed.stdout.strip() == identifier[:12]
    run.run("docker", "run", "-d", "--name", "web", "--network", "mine", "busybox", "sleep", "100")
    refused = run.run(client, "network", "rm", "mine", check=False)
    assert refused.returncode == 1
    assert "network mine has active endpoints" in refused.stderr
    assert run.run(client, "network", "prune", "-f").stdout == ""
    run.run("docker", "rm", "-f", "web")
    assert run.run(client, "network", "rm", "mine").stdout == "mine\n"
    gone = run.run(client, "network", "inspect", "mine", check=False)
    assert "network mine not found" in gone.stderr


@pytest.mark.parametrize("client", ["docker", CORTEN])
def test_connecting_while_it_runs_and_while_it_does_not(run: Engine, client: str) -> None:
    for name in ("one", "two"):
        run.run(client, "network", "create", name)
    run.run("docker", "run", "-d", "--name", "web", "--hostname", "hh", "busybox", "sleep", "100")
    run.run(client, "network", "connect", "--alias", "al", "one", "web")
    place = inspect(run, "web")["NetworkSettings"]["Networks"]["one"]
    assert place["Aliases"] == ["al"]
    assert place["DNSNames"] == ["web", "al", inspect(run, "web")["Id"][:12], "hh"]
    hosts = run.run("docker", "exec", "web", "cat", "/etc/hosts").stdout
    assert f"{place['IPAddress']}\thh\n" in hosts
    again = run.run(client, "network", "connect", "one", "web", check=False)
    assert "endpoint with name web already exists in network one" in again.stderr
    run.run(client, "network", "disconnect", "bridge", "web")
    hosts = run.run("docker", "exec", "web", "cat", "/etc/hosts").stdout
    assert "172.17." not in hosts
    assert run.run("docker", "exec", "web", "ip", "route").stdout.startswith(
        f"default via {place['Gateway']}"
    )
    run.run("docker", "stop", "-t", "0", "web")
    run.run(client, "network", "connect", "two", "web")
    run.run(client, "network", "disconnect", "one", "web")
    run.run("docker", "start", "web")
    assert list(inspect(run, "web")["NetworkSettings"]["Networks"]) == ["two"]
    run.run(client, "network", "disconnect", "two", "web")
    missing = run.run(client, "network", "disconnect", "two", "web", check=False)
    assert "is not connected to network two" in missing.stderr
    run.run("docker", "restart", "-t", "0", "web")
    assert inspect(run, "web")["NetworkSettings"]["Networks"] == {}
    assert run.run("docker", "exec", "web", "ip", "-o", "link").stdout.count("\n") == 1  # lo


def test_long_form_with_several_networks(run: Engine) -> None:
    run.run("docker", "network", "create", "--subnet", "10.77.0.0/24", "one")
    run.run("docker", "network", "create", "two")
    run.run(
        "docker", "run", "-d", "--name", "web", "--network", "name=one,ip=10.77.0.7,alias=a,mac-address=02:00:00:00:00:07",
        "--network", "name=two,gw-priority=1,driver-opt=com.docker.network.endpoint.ifname=wan0", "busybox", "sleep",
        "100",
    )  # fmt: skip
    places = inspect(run, "web")["NetworkSettings"]["Networks"]
    assert (places["one"]["IPAddress"], places["one"]["MacAddress"]) == ("10.77.0.7", "02:00:00:00:00:07")
    assert places["two"]["GwPriority"] == 1
    routes = run.run("docker", "exec", "web", "ip", "route").stdout
    assert f"default via {places['two']['Gateway']} dev wan0" in routes


def test_an_address_that_cannot_be_had_is_refused_at_once(run: Engine) -> None:
    """There is no container then: what `create` promised, `start` keeps."""
    run.run("docker", "network", "create", "chosen")
    for network in ("chosen", "bridge", "none"):
        create = [
            "docker",
            "create",
            "--name",
            "wisher",
            "--network",
            network,
            "--ip",
            "10.66.0.7",
            "busybox",
        ]
        refused = run.run(*create, check=False)
        assert f"invalid config for network {network}: invalid endpoint settings" in refused.stderr
        assert "user specified IP address is supported" in refused.stderr
    assert "wisher" not in run.run("docker", "ps", "-a").stdout


def test_networks_hold_when_the_engine_is_killed(run: Engine) -> None:
    run.run("docker", "network", "create", "mine")
    run.run("docker", "run", "-d", "--name", "first", "--network", "mine", "busybox", "sleep", "100")
    before = inspect(run, "first")["NetworkSettings"]["Networks"]
    run.kill()
    run.start()
    assert inspect(run, "first")["NetworkSettings"]["Networks"] == before
    run.run("docker", "run", "-d", "--name", "second", "--network", "mine", "busybox", "sleep", "100")
    address = before["mine"]["IPAddress"]
    run.run("docker", "exec", "second", "busybox", "ping", "-c1", "-w5", address)
    run.run("docker", "network", "disconnect", "mine", "first")
    assert inspect(run, "first")["NetworkSettings"]["Networks"] == {}


def test_docker_py(run: Engine) -> None:
    client = docker.DockerClient(base_url=run.docker_host, version="auto", timeout=30)
    try:
        network = client.networks.create(
            "mine", internal=True, options={"com.docker.network.driver.mtu": "1400"}
        )
        container = client.containers.run("busybox", ["sleep", "100"], detach=True, network="mine")
        network.reload()
        assert network.containers == [container]
        assert b"mtu 1400" in container.exec_run("ip link show eth0").output
        with pytest.raises(APIError, match="has active endpoints") as failure:
            network.remove()
        assert failure.value.status_code == 403
        network.disconnect(container)
        network.reload()
        assert network.containers == []
        network.remove()
    finally:
        client.close()


def test_wishes_for_an_interface(run: Engine) -> None:
    run.run("docker", "network", "create", "mine")
    option = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    run.run(
        "docker", "run", "-d", "--name", "web", "--network", f"name=mine,link-local-ip=169.254.7.7,driver-opt={option}",
        "busybox", "sleep", "100",
    )  # fmt: skip
    assert "169.254.7.7/16" in run.run("docker", "exec", "web", "ip", "addr").stdout
    value = run.run("docker", "exec", "web", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians").stdout
    assert value == "1\n"
    bad = run.run("docker", "create", "--network", "name=mine,link-local-ip=10.0.0.1", "busybox", check=False)
    assert "invalid link-local IP address: 10.0.0.1" in bad.stderr


def test_exposure(run: Engine) -> None:
    run.run("docker", "run", "-d", "--name", "web", "-p", "127.0.0.1:8085:80", "busybox", "sleep", "100")
    lines = run.run(
        CORTEN, "system", "exposure", "--format", "{{.Container}} {{.Ports}} {{.At}} {{.From}}"
    ).stdout
    assert lines.splitlines()[0] == "web 80/tcp 127.0.0.1:8085 this machine"
    assert "REACHABLE AT" in run.run(CORTEN, "system", "exposure").stdout
