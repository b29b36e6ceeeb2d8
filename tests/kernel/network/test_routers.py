"""Router advertisements: containers are no routers of the host's, and the host's own stay what they were."""

import socket
import struct
import time

import pytest
from world import World, inside, isolated, wish

from corten.linux.netlink import route, sysctl
from corten.linux.netlink.socket import NetlinkSocket

pytestmark = pytest.mark.root

ETH_P_IPV6 = 0x86DD
ICMPV6 = 58
ROUTER_ADVERTISEMENT = 134
PATIENCE_S = 10


def advertise(netns_fd: int, ifname: str = "eth0") -> None:
    """Say to all on the link: I lead out."""
    source = socket.inet_pton(socket.AF_INET6, "fe80::bad")
    everybody = socket.inet_pton(socket.AF_INET6, "ff02::1")
    message = struct.pack("!BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, 64, 0, 1800, 0, 0)
    message += struct.pack("!BB6s", 1, 1, b"\x02\0\0\0\x0b\xad")  # our link-layer address
    pseudo = source + everybody + struct.pack("!I3xB", len(message), ICMPV6) + message
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    message = message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, 255) + source + everybody + message
    frame = b"\x33\x33\0\0\0\1" + b"\x02\0\0\0\x0b\xad" + struct.pack("!H", ETH_P_IPV6) + packet

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((ifname, 0))
            sock.send(frame)

    inside(netns_fd, send)


def routers() -> set[int]:
    """The links through which this namespace has an IPv6 default route."""
    with NetlinkSocket() as sock:
        return {each.link_index for each in route.routes(sock, route.AF_INET6) if not each.prefix_length}


def index_of(name: str) -> int:
    with NetlinkSocket() as sock:
        return route.link_index(sock, name)


def wait_for_router(world: World) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while index_of("out0") not in routers():
        assert time.monotonic() < deadline, "the host hears no routers"
        advertise(world.outside)
        time.sleep(0.05)


@isolated
def test_a_container_is_no_router_of_the_host(tmp_path):
    world = World(str(tmp_path))
    world.start("evil")
    world.controller.create_network(wish("mine"))
    advertise(world.netns("evil"))
    wait_for_router(world)  # advertised later, so what was to be heard before has been heard
    assert routers() == {index_of("out0")}
    for bridge in ("tcorten0", world.controller.get_network("mine").bridge):
        assert sysctl.read(f"ipv6/conf/{bridge}/accept_ra") == "0"


@isolated
def test_the_hosts_routers_stay_when_we_switch_on_forwarding(tmp_path):
    world = World(str(tmp_path))
    wait_for_router(world)
    assert sysctl.read("ipv6/conf/all/forwarding") == "0"
    world.controller.create_network(wish("six", enable_ipv6=True))
    assert sysctl.read("ipv6/conf/all/forwarding") == "1"
    assert routers() == {index_of("out0")}
    with NetlinkSocket() as sock:
        sock.transact([route.delete_default_route(route.AF_INET6)])
    wait_for_router(world)


@isolated
def test_who_hears_no_routers_goes_on_hearing_none(tmp_path):
    world = World(str(tmp_path))
    sysctl.write("ipv6/conf/out0/accept_ra", "0")
    world.controller.create_network(wish("six", enable_ipv6=True))
    assert sysctl.read("ipv6/conf/out0/accept_ra") == "0"
