"""What can be reached from where, as `corten system exposure` says it."""

from corten.cli.system.exposure import egress, ways

BRIDGE = {"Driver": "bridge", "Options": {}}


def container(mode="bridge", ports=(), **places):
    return {
        "HostConfig": {"NetworkMode": mode},
        "Ports": list(ports),
        "NetworkSettings": {"Networks": {name: {"IPAddress": address} for name, address in places.items()}},
    }


def port(address, number):
    return {"IP": address, "PrivatePort": 80, "PublicPort": number, "Type": "tcp"}


def test_published_ports_and_networks():
    found = ways(
        container(
            ports=[
                port("0.0.0.0", 8080),
                port("::", 8080),
                port("127.0.0.1", 8081),
                port("192.0.2.1", 8082),
                {"PrivatePort": 81, "Type": "tcp"},
            ],
            bridge="172.17.0.2",
        ),
        {"bridge": BRIDGE},
    )
    assert list(found) == [
        ("80/tcp", "0.0.0.0:8080", "anywhere"),
        ("80/tcp", "[::]:8080", "anywhere"),
        ("80/tcp", "127.0.0.1:8081", "this machine"),
        ("80/tcp", "192.0.2.1:8082", "wherever 192.0.2.1 is reachable"),
        ("all", "172.17.0.2", "this machine, containers on bridge"),
    ]


def test_kinds_of_networks():
    networks = {
        "lan": {"Driver": "macvlan", "Options": {"parent": "eth0"}},
        "alone": {"Driver": "macvlan", "Options": {}},
        "quiet": {"Driver": "bridge", "Options": {"com.docker.network.bridge.enable_icc": "false"}},
        "open": {
            "Driver": "bridge",
            "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected"},
        },
    }
    places = {name: f"10.0.{number}.2" for number, name in enumerate(networks)}
    assert [source for _, _, source in ways(container("lan", **places), networks)] == [
        "the network of eth0",
        "containers on alone",
        "this machine",
        "wherever its network is routed to",
    ]


def test_the_hosts_network_and_none():
    assert [way[0] for way in ways(container("host", host=""), {})] == ["all"]
    assert list(ways(container("none", none=""), {})) == []


def test_what_is_reached_outside():
    networks = {"kept": {"Options": {"corten.egress": "allow=192.0.2.1,example.com:443"}}, "open": {}}
    assert egress(container(open="10.0.0.2"), networks) == "anything"
    assert egress(container(kept="10.0.0.2"), networks) == "kept: 192.0.2.1, example.com:443"
    own = {**container(kept="10.0.0.2"), "Labels": {"corten.egress": "deny"}}
    assert egress(own, networks) == "nothing; kept: 192.0.2.1, example.com:443"
