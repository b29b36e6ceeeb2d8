"""Published ports and masquerading, seen from the host, from outside and from other containers."""

import socket

import pytest
from world import (
    HOST,
    MTU,
    OUTSIDE,
    World,
    echo_udp,
    inside,
    isolated,
    peer_of_connection,
    reachable,
    serving,
    tcp,
    udp,
)

from corten.linux.netlink import route, sysctl
from corten.linux.netlink.socket import NetlinkSocket
from corten.network.values import PortRequest

pytestmark = pytest.mark.root

bridged_packets_filtered_or_not = pytest.mark.parametrize("br_netfilter", ["0", "1"])

WEB = PortRequest(protocol="tcp", container_port=80, first_host_port=8080, last_host_port=8080)
WEB_LOCAL = PortRequest(
    protocol="tcp", container_port=80, host_address="127.0.0.1", first_host_port=8081, last_host_port=8081
)
DNS = PortRequest(protocol="udp", container_port=53, first_host_port=5353, last_host_port=5353)


@isolated
def test_container_reaches_outside_behind_the_hosts_address(tmp_path):
    world = World(str(tmp_path))
    world.start("client")
    with serving(world.outside, OUTSIDE, 7000) as server:
        assert peer_of_connection(server, world.netns("client"), OUTSIDE, 7000) == HOST


@bridged_packets_filtered_or_not
@isolated
def test_published_tcp_port_is_reachable_from_everywhere(tmp_path, br_netfilter):
    sysctl.write("bridge/bridge-nf-call-iptables", br_netfilter)
    world = World(str(tmp_path))
    web = world.start("web", WEB)
    other = world.start("other")
    with serving(world.netns("web"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE  # client's address is kept
        assert peer_of_connection(server, None, "127.0.0.1", 8080) == web.gateway
        assert peer_of_connection(server, None, HOST, 8080) == HOST
        assert peer_of_connection(server, None, web.gateway, 8080) == web.gateway
        for client in ("other", "web"):
            assert peer_of_connection(server, world.netns(client), HOST, 8080) == web.gateway
            assert peer_of_connection(server, world.netns(client), web.gateway, 8080) == web.gateway
        assert peer_of_connection(server, world.netns("other"), web.ipv4, 80) == other.ipv4
        assert peer_of_connection(server, None, web.ipv4, 80) == web.gateway


@bridged_packets_filtered_or_not
@isolated
def test_published_udp_port_is_reachable_from_everywhere(tmp_path, br_netfilter):
    sysctl.write("bridge/bridge-nf-call-iptables", br_netfilter)
    world = World(str(tmp_path))
    dns = world.start("dns", DNS)
    world.start("other")
    with udp(world.netns("dns")) as server:
        server.bind(("0.0.0.0", 53))
        for netns, address in (
            (world.outside, HOST),
            (None, "127.0.0.1"),
            (None, HOST),
            (world.netns("other"), HOST),
            (world.netns("dns"), dns.gateway),
        ):
            with udp(netns) as client:
                assert echo_udp(server, client, address, 5353), address


@isolated
def test_udp_client_that_was_there_first_finds_the_new_container(tmp_path):
    world = World(str(tmp_path))
    with udp(world.outside) as client:
        client.sendto(b"too early", (HOST, 5353))
        world.start("dns", DNS)
        with udp(world.netns("dns")) as server:
            server.bind(("0.0.0.0", 53))
            assert echo_udp(server, client, HOST, 5353)
        world.stop("dns")
        world.start("again", DNS)
        with udp(world.netns("again")) as server:
            server.bind(("0.0.0.0", 53))
            assert echo_udp(server, client, HOST, 5353)


@isolated
def test_port_published_on_loopback_is_for_this_machine_only(tmp_path):
    """SECURITY.md, CVE-2025-54388: also not by a packet that is routed to 127.0.0.1 or the container."""
    world = World(str(tmp_path))
    web = world.start("web", WEB_LOCAL)
    world.start("other")
    inside(world.outside, _route_loopback_to_host)
    with serving(world.netns("web"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, None, "127.0.0.1", 8081) == web.gateway
        assert not reachable(None, HOST, 8081)
        assert not reachable(world.outside, HOST, 8081)
        assert not reachable(world.outside, "127.0.0.2", 8081)
        assert not reachable(world.outside, "127.0.0.1", 8081)
        assert not reachable(world.outside, web.ipv4, 80)
        assert not reachable(world.netns("other"), HOST, 8081)


@isolated
def test_containers_cannot_reach_the_hosts_loopback_services(tmp_path):
    """CVE-2020-8558: route_localnet on the bridge must not open 127.0.0.1."""
    world = World(str(tmp_path))
    web = world.start("web")

    def route_loopback() -> None:
        _route_loopback(web.gateway)

    inside(world.netns("web"), route_loopback)
    with serving(None, "127.0.0.1", 9000):
        assert not reachable(world.netns("web"), "127.0.0.1", 9000)


def _route_loopback_to_host() -> None:
    _route_loopback(HOST)


def _route_loopback(gateway: str) -> None:
    """Send packets for 127.0.0.0/8 to the gateway instead of keeping them."""
    with open("/proc/sys/net/ipv4/conf/eth0/route_localnet", "w") as file:
        file.write("1")
    with NetlinkSocket() as sock:
        index = route.link_index(sock, "eth0")
        sock.transact([route.delete_address(route.LOOPBACK_INDEX, socket.inet_aton("127.0.0.1"), 8)])
        sock.transact(
            [
                route.route(
                    index,
                    destination=socket.inet_aton("127.0.0.0"),
                    prefix_length=8,
                    gateway=socket.inet_aton(gateway),
                )
            ]
        )


@isolated
def test_unpublished_port_is_not_reachable_from_outside(tmp_path):
    world = World(str(tmp_path))
    web = world.start("web", WEB)
    with serving(world.netns("web"), "0.0.0.0", 22):
        assert reachable(None, web.ipv4, 22)
        assert not reachable(world.outside, web.ipv4, 22)
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert reachable(world.outside, HOST, 8080)
        assert not reachable(world.outside, web.ipv4, 80)


@isolated
def test_release_closes_the_port_and_frees_the_address(tmp_path):
    world = World(str(tmp_path))
    web = world.start("web", WEB)
    with tcp() as rival, pytest.raises(OSError, match="in use"):
        rival.bind(("0.0.0.0", 8080))
    world.stop("web")
    assert not reachable(world.outside, HOST, 8080)
    with tcp() as rival:
        rival.bind(("0.0.0.0", 8080))
    assert world.controller.members.of("web") == []
    successor = world.start("web", WEB)
    assert successor.ipv4 != web.ipv4  # next after the last one given
    assert successor.ports == web.ports
    with serving(world.netns("web"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE


@isolated
def test_mtu_follows_the_default_route(tmp_path):
    world = World(str(tmp_path))
    endpoint = world.start("web")
    with NetlinkSocket() as sock:
        assert route.get_link(sock, "tcorten0").mtu == MTU
        assert route.get_link(sock, endpoint.host_ifname).mtu == MTU

    def container_mtu() -> int:
        with NetlinkSocket() as sock:
            return route.get_link(sock, "eth0").mtu

    assert inside(world.netns("web"), container_mtu) == MTU


@bridged_packets_filtered_or_not
@isolated
def test_without_icc_containers_only_meet_through_published_ports(tmp_path, br_netfilter):
    sysctl.write("bridge/bridge-nf-call-iptables", br_netfilter)
    world = World(str(tmp_path), icc=False)
    web = world.start("web", WEB)
    world.start("other")
    with serving(world.netns("web"), "0.0.0.0", 80) as server:
        assert not reachable(world.netns("other"), web.ipv4, 80)
        assert peer_of_connection(server, world.netns("other"), HOST, 8080) == web.gateway
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
