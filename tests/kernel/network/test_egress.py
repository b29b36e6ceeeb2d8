"""What containers with an egress policy reach, whatever they try."""

import select
import socket
import struct

import pytest
from world import (
    HOST,
    OUTSIDE,
    World,
    inside,
    isolated,
    peer_of_connection,
    reachable,
    serving,
    tcp,
    udp,
    wish,
)

from corten.errors import InvalidParameter, NotSupported
from corten.linux.netlink import elements, route, sysctl
from corten.linux.netlink.nfnetlink import NFPROTO_INET
from corten.linux.netlink.nftables import Nftables
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket
from corten.network.egress.denials import Denial
from corten.network.values import Endpoint, Place, PortRequest

pytestmark = pytest.mark.root

ALLOWED = f"allow={OUTSIDE}:7000"
WEB = PortRequest(protocol="tcp", container_port=80, first_host_port=8080, last_host_port=8080)


def confined(world: World, name: str, policy: str, *ports: PortRequest, network: str = "bridge") -> Endpoint:
    return world.join(name, Place(network=network, egress=policy), ports=ports)[0]


def ruleset() -> str:
    with Nftables() as nftables:
        return nftables.apply("list ruleset")


def arrives(server: socket.socket, within_s: float = 0.3) -> bool:
    """Whether a datagram comes in."""
    found = bool(select.select([server], [], [], within_s)[0])
    if found:
        server.recv(2048)
    return found


@isolated
def test_denied_container_reaches_its_neighbours_only(tmp_path):
    world = World(str(tmp_path))
    before = ruleset()
    web = confined(world, "web", "deny", WEB)
    other = world.start("other")
    with serving(world.outside, OUTSIDE, 7000) as outside, serving(None, "0.0.0.0", 7001):
        assert not reachable(world.netns("web"), OUTSIDE, 7000)
        assert not reachable(world.netns("web"), HOST, 7001)  # the host is outside
        assert not reachable(world.netns("web"), other.gateway, 7001)
        assert peer_of_connection(outside, world.netns("other"), OUTSIDE, 7000) == HOST
    with serving(world.netns("other"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.netns("web"), other.ipv4, 80) == web.ipv4
    with serving(world.netns("web"), "0.0.0.0", 80) as server:  # who comes in gets answers
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
        assert peer_of_connection(server, None, web.ipv4, 80) == web.gateway
        assert peer_of_connection(server, world.netns("other"), web.ipv4, 80) == other.ipv4
    world.stop("web")
    for word in (web.ipv4, "egress_c", "names4", "guard_vc"):
        assert word in before or word not in ruleset()


@isolated
def test_only_what_is_allowed_is_reached(tmp_path):
    world = World(str(tmp_path))
    confined(world, "web", f"{ALLOWED},{OUTSIDE}:53/udp")
    with serving(world.outside, OUTSIDE, 7000) as server, serving(world.outside, OUTSIDE, 7001):
        assert peer_of_connection(server, world.netns("web"), OUTSIDE, 7000) == HOST
        assert not reachable(world.netns("web"), OUTSIDE, 7001)
    with udp(world.outside) as server, udp(world.netns("web")) as client:
        server.bind((OUTSIDE, 53))
        client.sendto(b"question", (OUTSIDE, 53))
        assert arrives(server)
    with udp(world.outside) as server, udp(world.netns("web")) as client:
        server.bind((OUTSIDE, 54))
        client.sendto(b"question", (OUTSIDE, 54))
        assert not arrives(server)


@isolated
def test_connections_of_who_had_the_address_before_are_not_inherited(tmp_path):
    """Tracked by the kernel for minutes, for days if TCP: they would pass as established."""
    world = World(str(tmp_path))
    address = "10.9.0.7"
    world.controller.create_network(wish("net", "10.9.0.0/24"))
    world.join("before", Place(network="net", ipv4=address))
    with udp(world.outside) as server:
        server.bind((OUTSIDE, 53))
        with udp(world.netns("before")) as client:
            client.bind((address, 5353))
            client.sendto(b"question", (OUTSIDE, 53))
            _, peer = server.recvfrom(2048)
            server.sendto(b"answer", peer)
            client.recv(2048)
        world.stop("before")
        world.join("after", Place(network="net", ipv4=address, egress="deny"))
        with udp(world.netns("after")) as client:
            client.bind((address, 5353))
            client.sendto(b"secret", (OUTSIDE, 53))
        assert not arrives(server)


@isolated
def test_a_container_cannot_become_its_neighbour(tmp_path):
    """Other addresses, forged packets, IPv6 of its own, other frames: all it sends is judged or dropped."""
    world = World(str(tmp_path))
    confined(world, "web", "deny")
    other = world.start("other")

    def take_address() -> None:
        with NetlinkSocket() as sock:
            index = route.link_index(sock, "eth0")
            sock.transact([route.address(index, socket.inet_aton(other.ipv4), 16)])

    inside(world.netns("web"), take_address)
    with serving(world.outside, OUTSIDE, 7000), tcp(world.netns("web")) as client:
        client.bind((other.ipv4, 0))
        with pytest.raises(OSError):
            client.connect((OUTSIDE, 7000))
    with udp(world.outside) as server:
        server.bind((OUTSIDE, 53))
        forged = inside(
            world.netns("web"), lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        )
        assert isinstance(forged, socket.socket)
        with forged:
            forged.sendto(_datagram(other.ipv4, OUTSIDE, 53), (OUTSIDE, 0))
        assert not arrives(server)
        with udp(world.netns("other")) as client:
            client.sendto(b"question", (OUTSIDE, 53))
            assert arrives(server)  # which shows that the forged one could have been seen


@isolated
def test_ipv6_of_its_own_does_not_help(tmp_path):
    sysctl.write("ipv6/conf/default/disable_ipv6", "0")
    world = World(str(tmp_path))
    confined(world, "web", "deny")
    world.start("other")
    scope = socket.if_nametoindex("tcorten0")

    def hear() -> socket.socket:
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        server.bind(("::", 7777))
        server.setsockopt(
            socket.IPPROTO_IPV6,
            socket.IPV6_JOIN_GROUP,
            socket.inet_pton(socket.AF_INET6, "ff02::77") + struct.pack("=I", scope),
        )
        return server

    def shout() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
            index = socket.if_nametoindex("eth0")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.sendto(struct.pack(">HHHH", 1, 7777, 12, 0) + b"word", ("ff02::77", 0, 0, index))

    def enable() -> None:
        for name in ("all", "eth0"):
            sysctl.write(f"ipv6/conf/{name}/disable_ipv6", "0")

    inside(world.netns("web"), enable)
    with hear() as server:
        try:
            inside(world.netns("web"), shout)
        except OSError:
            pass  # no link-local address in time: nothing was sent at all
        assert not arrives(server)


@isolated
def test_policy_of_a_network(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("mine", options={"corten.egress": ALLOWED}))
    (web,) = world.join("web", Place(network="mine"))
    world.start("free")
    with serving(world.outside, OUTSIDE, 7000) as server, serving(world.outside, OUTSIDE, 7001):
        assert peer_of_connection(server, world.netns("web"), OUTSIDE, 7000) == HOST
        assert not reachable(world.netns("web"), OUTSIDE, 7001)
        assert reachable(world.netns("free"), OUTSIDE, 7001)
        confined(world, "strict", "deny", network="mine")  # both have to allow it
        assert not reachable(world.netns("strict"), OUTSIDE, 7000)
    for name in ("web", "strict"):
        world.stop(name)
    world.controller.remove_network("mine")
    assert web.gateway not in ruleset() and "egress_n" not in ruleset()


@isolated
def test_rules_come_back_and_names_with_them(tmp_path):
    """After a flush, and with a new engine; those who fill the sets are told."""
    world = World(str(tmp_path))
    world.controller.create_network(wish("mine"))
    web = confined(world, "web", "allow=example.com:7000", network="mine")
    told: list[None] = []
    world.controller.egress.on_rewritten = lambda: told.append(None)
    ((pattern, name),) = world.controller.members.allowed_names("web")[0]
    assert pattern == "example.com"

    def fill() -> None:
        with NetlinkSocket(NETLINK_NETFILTER) as sock:
            address = socket.inet_aton(OUTSIDE)
            add = elements.add_element(
                NFPROTO_INET, "tcorten_egress", f"names4_{name}", address, timeout_ms=60000
            )
            elements.commit(sock, [add])

    with serving(world.outside, OUTSIDE, 7000), serving(world.outside, OUTSIDE, 7001):
        assert not reachable(world.netns("web"), OUTSIDE, 7000)
        fill()
        assert reachable(world.netns("web"), OUTSIDE, 7000)
        assert not reachable(world.netns("web"), OUTSIDE, 7001)
        with Nftables() as nftables:
            nftables.apply("flush ruleset")
        assert select.select([world.controller.firewall_events], [], [], 5)[0]
        world.controller.check_firewall()
        assert told == [None]
        assert not reachable(world.netns("web"), OUTSIDE, 7000)
        fill()
        assert reachable(world.netns("web"), OUTSIDE, 7000)
        world.controller.close()
        world.controller = world.new_controller()
        assert not reachable(world.netns("web"), OUTSIDE, 7001)
    assert web.ipv4 in ruleset()


@isolated
def test_a_second_network_is_confined_too(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("mine"))
    confined(world, "web", ALLOWED)
    place = Place(network="mine", egress=ALLOWED, gw_priority=1)
    second = world.controller.members.connect("web", place, name="web", netns_fd=world.netns("web"))
    with serving(world.outside, OUTSIDE, 7000) as server, serving(world.outside, OUTSIDE, 7001):
        assert peer_of_connection(server, world.netns("web"), OUTSIDE, 7000) == HOST
        assert not reachable(world.netns("web"), OUTSIDE, 7001)
        world.controller.members.disconnect(second, world.netns("web"))
        assert second.ipv4 not in ruleset()
        assert peer_of_connection(server, world.netns("web"), OUTSIDE, 7000) == HOST
        assert not reachable(world.netns("web"), OUTSIDE, 7001)


@isolated
def test_refused_packets_are_told_of(tmp_path):
    world = World(str(tmp_path))
    web = confined(world, "web", "deny")
    assert not reachable(world.netns("web"), OUTSIDE, 7001)
    assert select.select([world.controller.egress.events], [], [], 5)[0]
    (denial, *_) = world.controller.egress.denials()
    assert denial == Denial("cweb", web.ipv4, OUTSIDE, "tcp", 7001)


@isolated
def test_where_it_cannot_be_kept_it_is_refused(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("mac", driver="macvlan", options={"parent": "out0"}))
    with pytest.raises(NotSupported, match="egress control is the bridge driver's"):
        confined(world, "web", "deny", network="mac")
    with pytest.raises(NotSupported, match="egress control"):
        world.controller.create_network(wish("more", driver="macvlan", options={"corten.egress": "deny"}))
    with pytest.raises(InvalidParameter, match="needs a user-defined network"):
        confined(world, "web", "allow=example.com")
    assert world.controller.members.all() == []


def _datagram(source: str, destination: str, port: int) -> bytes:
    """An IPv4 packet with a UDP datagram; the kernel adds length and checksum of the header."""
    body = struct.pack(">HHHH", 1234, port, 16, 0) + b"smuggled"
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    return struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses + body


@isolated
def test_policy_for_ipv6(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("six", "10.77.0.0/24", "fd00:77::/64", enable_ipv6=True))
    web = confined(world, "web", "allow=[fd00:77::1]:7000", network="six")
    world.join("other", Place(network="six"))

    def reaches(name: str, address: str, port: int, source: str = "") -> bool:
        def connect() -> bool:
            try:
                with socket.create_connection((address, port), 2, (source, 0) if source else None):
                    return True
            except OSError:
                return False

        return bool(inside(world.netns(name), connect))

    def take_address() -> None:
        with NetlinkSocket() as sock:
            index = route.link_index(sock, "eth0")
            sock.transact([route.address(index, socket.inet_pton(socket.AF_INET6, "fd00:77::99"), 64)])

    servers = [socket.create_server(("::", port), family=socket.AF_INET6) for port in (7000, 7001)]
    try:
        assert reaches("web", "fd00:77::1", 7000)
        assert not reaches("web", "fd00:77::1", 7001)
        assert reaches("other", "fd00:77::1", 7001)
        inside(world.netns("web"), take_address)
        assert not reaches("web", "fd00:77::1", 7001, "fd00:77::99")
    finally:
        for server in servers:
            server.close()
    server = inside(world.netns("web"), lambda: socket.create_server(("::", 80), family=socket.AF_INET6))
    assert isinstance(server, socket.socket)
    with server:
        assert reaches("other", web.ipv6, 80)
