"""Overlay networks in the kernel: what is refused, and what a cluster may say about containers elsewhere."""

import socket

import pytest
from world import HOST, OUTSIDE, World, inside, isolated, link_names, wish

from corten.errors import CortenError
from corten.linux.netlink import route, vxlan
from corten.linux.netlink.socket import NetlinkSocket
from corten.network import overlay
from corten.network.values import Network, Place

pytestmark = pytest.mark.root

SUBNET = "10.77.0.0/24"
PEERS = {overlay.PEERS: f"{HOST},{OUTSIDE}"}


@pytest.mark.parametrize(
    ("subnets", "options", "fields", "words"),
    [
        (
            [SUBNET],
            {},
            {},
            "This node is not a swarm manager. Name the engines of the network with -o corten",
        ),
        ([], PEERS, {}, "an overlay network needs a subnet, the same on every engine: --subnet"),
        ([SUBNET], PEERS, {"enable_ipv6": True}, "an overlay network needs an IPv6 subnet"),
        (["10.77.0.0/31"], PEERS, {}, "subnet 10.77.0.0/31 is too small for 2 engines"),
        ([SUBNET, "10.78.0.0/24"], PEERS, {}, "an overlay network has one subnet of each IP version"),
        ([SUBNET], {**PEERS, "encrypted": ""}, {}, "encrypted overlay networks are not supported"),
        ([SUBNET], PEERS, {"ingress": True}, "an ingress network needs cluster mode"),
        ([SUBNET], PEERS, {"enable_ipv4": False, "enable_ipv6": True}, "without IPv4"),
        ([SUBNET], {overlay.PEERS: "nowhere"}, {}, "nowhere is no IP address"),
        ([SUBNET], {overlay.PEERS: "fd00::1"}, {}, "peers have IPv4 addresses, not fd00::1"),
        ([SUBNET], {overlay.PEERS: f"{HOST},{HOST}"}, {}, "an address is there twice"),
        ([SUBNET], {overlay.PEERS: "127.0.0.1"}, {}, "127.0.0.1 is no address of an engine"),
        ([SUBNET], {overlay.PEERS: OUTSIDE}, {}, "has no address of this machine"),
        ([SUBNET], {**PEERS, overlay.NUMBERS: "0"}, {}, "0 is no number from 1 to 16777215"),
        ([SUBNET], {**PEERS, overlay.PORT: "65536"}, {}, "65536 is no number from 1 to 65535"),
        (
            [SUBNET],
            {**PEERS, "com.docker.network.bridge.enable_icc": "false"},
            {},
            "whose containers may not talk to each other",
        ),
        ([SUBNET], {**PEERS, "corten.egress": "deny"}, {}, "egress control is the bridge driver's"),
    ],
)
@isolated
def test_refused(tmp_path, subnets, options, fields, words):
    world = World(str(tmp_path))
    before = link_names()
    with pytest.raises(CortenError) as refusal:
        world.controller.create_network(wish("far", *subnets, driver="overlay", options=options, **fields))
    assert words in str(refusal.value)
    assert link_names() == before


@isolated
def test_parts_follow_from_the_order_of_the_peers(tmp_path):
    world = World(str(tmp_path))
    options = {overlay.PEERS: f"192.0.2.5,{OUTSIDE},{HOST}"}
    network = world.controller.create_network(
        wish("far", SUBNET, "fd00:7::/64", driver="overlay", options=options, enable_ipv6=True)
    )
    assert [str(each.ip_range) for each in network.subnets] == ["10.77.0.128/26", "fd00:7:0:0:8000::/66"]
    (web,) = world.join("web", Place(network="far"))
    assert (web.ipv4, web.gateway, web.prefix_length) == ("10.77.0.128", "10.77.0.1", 24)
    assert network.mtu == 1350
    world.controller.close()
    world.controller = world.new_controller()
    assert world.controller.get_network("far") == network
    with NetlinkSocket() as sock:
        assert peers_of(network, sock) == {"192.0.2.5", OUTSIDE}
    world.stop("web")
    world.controller.remove_network("far")
    assert not {name for name in link_names() if name.startswith(("vx-", "br-"))}


def peers_of(network: Network, sock: NetlinkSocket, mac: bytes = vxlan.EVERYBODY) -> set[str]:
    table = vxlan.forwarding(sock, route.link_index(sock, overlay.tunnel_name(network)))
    return {socket.inet_ntoa(each) for each in table.get(mac, set())}


@isolated
def test_a_cluster_says_who_is_where(tmp_path):
    """With all stations known and nobody to flood to, frames still find their way, and ARP stays at home."""
    world = World(str(tmp_path))
    network = world.controller.create_network(wish("far", SUBNET, driver="overlay", options=PEERS))
    station = overlay.Station(mac="02:42:0a:4d:00:c8", addresses=("10.77.0.200",), peer=OUTSIDE)

    def make_the_other_end() -> None:
        assert network.overlay is not None
        with NetlinkSocket() as sock:
            local = socket.inet_aton(OUTSIDE)
            sock.transact([route.bridge("b", mac=bytes.fromhex("02420a4d00c8"), mtu=1350)])
            index = route.link_index(sock, "b")
            message = vxlan.tunnel(
                "vx", vni=network.overlay.vni, local=local, port=network.overlay.port, master=index, mtu=1350
            )
            sock.transact([message, route.address(index, socket.inet_aton("10.77.0.200"), 24)])
            sock.transact([vxlan.flood_to(route.link_index(sock, "vx"), socket.inet_aton(HOST))])

    inside(world.outside, make_the_other_end)
    world.join("web", Place(network="far"))
    with NetlinkSocket() as sock:
        overlay.set_peers(network, (), sock)
        assert peers_of(network, sock) == set()
        assert not answers(world, "10.77.0.200")
        overlay.put_station(network, station, sock)
        assert peers_of(network, sock, bytes.fromhex("02420a4d00c8")) == {OUTSIDE}
        assert answers(world, "10.77.0.200")
        overlay.drop_station(network, station, sock)
        assert peers_of(network, sock, bytes.fromhex("02420a4d00c8")) == set()
        overlay.set_peers(network, (OUTSIDE,), sock)
        assert peers_of(network, sock) == {OUTSIDE}


def answers(world: World, address: str) -> bool:
    """Whether somebody is there who refuses a connection of the container "web"."""

    def ask() -> bool:
        with socket.socket() as client:
            client.settimeout(1.5)
            return client.connect_ex((address, 9)) == 111

    return bool(inside(world.netns("web"), ask))
