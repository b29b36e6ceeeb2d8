"""com.docker.network.bridge.gateway_mode_ipv4/6, and subnets that the machine has already."""

import socket

import pytest
from world import HOST, OUTSIDE, World, inside, isolated, peer_of_connection, reachable, serving, wish

from corten.linux.netlink import route
from corten.linux.netlink.socket import NetlinkSocket
from corten.network.values import Place, PortRequest

pytestmark = pytest.mark.root

MODE = "com.docker.network.bridge.gateway_mode_ipv"
WEB = PortRequest(protocol="tcp", container_port=80, first_host_port=8080, last_host_port=8080)
OUTSIDE6, HOST6 = "2001:db8::9", "2001:db8::1"


def lead_outside_to(world: World, subnet: str) -> None:
    """Have the outside know the way to a network's addresses."""

    def add() -> None:
        packed = socket.inet_aton(subnet.partition("/")[0])
        with NetlinkSocket() as sock:
            index = route.link_index(sock, "eth0")
            sock.transact(
                [route.route(index, destination=packed, prefix_length=24, gateway=socket.inet_aton(HOST))]
            )

    inside(world.outside, add)


@isolated
def test_nat_unprotected_opens_every_port_and_masquerades_still(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("open", "10.9.0.0/24", options={f"{MODE}4": "nat-unprotected"}))
    (web,) = world.join("web", Place(network="open"), ports=[WEB])
    lead_outside_to(world, "10.9.0.0/24")
    with serving(world.netns("web"), "0.0.0.0", 80), serving(world.netns("web"), "0.0.0.0", 22):
        assert reachable(world.outside, HOST, 8080)
        assert reachable(world.outside, web.ipv4, 22)
    with serving(world.outside, OUTSIDE, 7000) as server:
        assert peer_of_connection(server, world.netns("web"), OUTSIDE, 7000) == HOST


@isolated
def test_an_isolated_network_has_no_address_of_the_host(tmp_path):
    world = World(str(tmp_path))
    options = {f"{MODE}4": "isolated", f"{MODE}6": "isolated"}
    network = world.controller.create_network(
        wish("alone", "10.9.0.0/24", internal=True, enable_ipv6=True, options=options)
    )
    (one,) = world.join("one", Place(network="alone"))
    world.join("two", Place(network="alone"))
    with serving(world.netns("one"), "0.0.0.0", 80):
        assert reachable(world.netns("two"), one.ipv4, 80)
        assert not reachable(None, one.ipv4, 80)
    with NetlinkSocket() as sock:
        index = route.link_index(sock, network.bridge)
        own = [each.packed for each in route.addresses(sock) if each.link_index == index]
    assert [each[:2] for each in own] == [b"\xfe\x80"]


@isolated
def test_routed_ipv6_beside_masqueraded_ipv4(tmp_path):
    world = World(str(tmp_path))

    def address(link: str, text: str, gateway: str = "") -> None:
        with NetlinkSocket() as sock:
            index = route.link_index(sock, link)
            messages = [route.address(index, socket.inet_pton(socket.AF_INET6, text), 64)]
            if gateway:
                messages.append(route.default_route(index, socket.inet_pton(socket.AF_INET6, gateway)))
            sock.transact(messages)

    address("out0", HOST6, OUTSIDE6)
    inside(world.outside, lambda: address("eth0", OUTSIDE6, HOST6))
    world.controller.create_network(
        wish("mixed", "10.9.0.0/24", "fd00:9::/64", enable_ipv6=True, options={f"{MODE}6": "routed"})
    )
    (web,) = world.join("web", Place(network="mixed"), ports=[WEB])

    def six() -> socket.socket:
        made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        made.settimeout(1.5)
        return made

    def reaches(port: int) -> str:
        def connect() -> str:
            with six() as client:
                if client.connect_ex((web.ipv6, port)):
                    return ""
                return str(client.getsockname()[0])

        return str(inside(world.outside, connect))

    servers = []
    for port in (80, 22):
        server = inside(world.netns("web"), six)
        assert isinstance(server, socket.socket)
        server.bind(("::", port))
        server.listen()
        servers.append(server)
    assert reaches(80) == servers[0].accept()[1][0] == OUTSIDE6  # nobody hides its address
    assert reaches(22) == ""
    with serving(world.outside, OUTSIDE, 7000) as server4:
        assert peer_of_connection(server4, world.netns("web"), OUTSIDE, 7000) == HOST
    for server in servers:
        server.close()


@isolated
def test_pools_leave_out_what_the_machine_routes_already(tmp_path):
    world = World(str(tmp_path))
    first = world.controller.create_network(wish("first")).subnets[0].subnet
    world.controller.remove_network("first")
    with NetlinkSocket() as sock:
        index = route.link_index(sock, "out0")
        packed = first[1024].packed
        sock.transact(
            [route.route(index, destination=packed, prefix_length=24, gateway=socket.inet_aton(OUTSIDE))]
        )
    second = world.controller.create_network(wish("second")).subnets[0].subnet
    assert not second.overlaps(first)
