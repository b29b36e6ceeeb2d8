"""User-defined bridge networks: who reaches whom, what a running container notices, what is left."""

import socket

import pytest
from world import (
    HOST,
    OUTSIDE,
    World,
    inside,
    isolated,
    link_names,
    peer_of_connection,
    reachable,
    serving,
    tcp,
    wish,
)

from corten.errors import Conflict, Forbidden, InternalError, InvalidParameter, NotFound, NotSupported
from corten.linux.netlink import route
from corten.linux.netlink.nftables import Nftables
from corten.linux.netlink.socket import NetlinkSocket
from corten.network.values import Place, PortRequest
from corten.types.network import IPAM, ConfigReference, IPAMConfig, NetworkCreate

pytestmark = pytest.mark.root

WEB = PortRequest(protocol="tcp", container_port=80, first_host_port=8080, last_host_port=8080)


def ruleset() -> str:
    with Nftables() as nftables:
        return nftables.apply("list ruleset")


@isolated
def test_bridges_do_not_meet_but_through_published_ports(tmp_path):
    world = World(str(tmp_path))
    for name in ("one", "two"):
        world.controller.create_network(wish(name))
    (web,) = world.join("web", Place(network="one"), ports=[WEB])
    world.join("friend", Place(network="one"))
    world.join("stranger", Place(network="two"))
    world.start("default")
    with serving(world.netns("web"), "0.0.0.0", 80) as server:
        assert reachable(world.netns("friend"), web.ipv4, 80)
        for stranger in ("stranger", "default"):
            assert not reachable(world.netns(stranger), web.ipv4, 80)
            assert reachable(world.netns(stranger), HOST, 8080)
            server.accept()[0].close()
        assert not reachable(world.outside, web.ipv4, 80)
        assert reachable(world.outside, HOST, 8080)
    with serving(world.outside, OUTSIDE, 7000) as server:
        assert peer_of_connection(server, world.netns("web"), OUTSIDE, 7000) == HOST


@isolated
def test_an_internal_network_has_no_way_in_or_out(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("inner", internal=True))
    (web,) = world.join("web", Place(network="inner"), ports=[WEB])
    world.join("friend", Place(network="inner"))
    assert (web.gateway, web.ports) == ("", ())

    def try_to_leave() -> None:
        with NetlinkSocket() as sock:
            sock.transact(
                [route.default_route(route.link_index(sock, "eth0"), socket.inet_aton(bridge_address))]
            )

    subnet = world.controller.get_network("inner").subnet_of(4)
    assert subnet is not None
    bridge_address = subnet.gateway
    inside(world.netns("friend"), try_to_leave)
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert reachable(world.netns("friend"), web.ipv4, 80)
        assert not reachable(world.outside, web.ipv4, 80)
    with serving(world.outside, OUTSIDE, 7000):
        assert not reachable(world.netns("friend"), OUTSIDE, 7000)


@isolated
def test_a_container_on_several_networks_leaves_by_priority_and_name(tmp_path):
    world = World(str(tmp_path))
    for name in ("alpha", "beta", "gamma"):
        world.controller.create_network(wish(name))
    endpoints = world.join(
        "web",
        Place(network="beta"),
        Place(network="alpha"),
        Place(network="gamma", gw_priority=1),
        ports=[WEB],
    )
    assert [each.ifname for each in endpoints] == ["eth0", "eth1", "eth2"]
    assert [bool(each.ports) for each in endpoints] == [False, False, True]

    def way_out() -> str:
        with NetlinkSocket() as sock:
            found = route.find_default_route(sock)
        assert found is not None
        return socket.inet_ntoa(found.gateway)

    netns = world.netns("web")
    assert inside(netns, way_out) == endpoints[2].gateway
    with serving(netns, "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
        world.controller.members.disconnect(endpoints[2], netns)
        assert inside(netns, way_out) == endpoints[1].gateway
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE  # the port went along
        late = world.controller.members.connect(
            "web", Place(network="gamma", gw_priority=9), name="web", netns_fd=netns
        )
        assert late.ifname == "eth2"
        assert inside(netns, way_out) == late.gateway
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
        world.controller.close()
        world.controller = world.new_controller()
        assert {each.network_name for each in world.controller.members.of("web")} == {
            "alpha",
            "beta",
            "gamma",
        }
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
    world.stop("web")
    assert "8080" not in ruleset()


@isolated
def test_addresses_asked_for(tmp_path):
    world = World(str(tmp_path))
    ipam = IPAM(
        config=[
            IPAMConfig(
                subnet="10.7.0.0/24",
                ip_range="10.7.0.128/30",
                gateway="10.7.0.129",
                auxiliary_addresses={"router": "10.7.0.130"},
            )
        ]
    )
    world.controller.create_network(NetworkCreate(name="mine", ipam=ipam))
    world.controller.create_network(wish("ours"))
    (fixed,) = world.join("fixed", Place(network="mine", ipv4="10.7.0.9", mac="02:00:00:00:00:09"))
    assert (fixed.ipv4, fixed.mac, fixed.gateway) == ("10.7.0.9", "02:00:00:00:00:09", "10.7.0.129")
    chosen = {world.join(f"c{number}", Place(network="mine"))[0].ipv4 for number in range(2)}
    assert chosen == {"10.7.0.128", "10.7.0.131"}
    for place, kind, text in (
        (Place(network="mine", ipv4="10.7.0.9"), Forbidden, "Address already in use"),
        (Place(network="mine", ipv4="10.7.0.130"), Forbidden, "Address already in use"),
        (
            Place(network="mine", ipv4="10.8.0.1"),
            InvalidParameter,
            "no configured subnet or ip-range contain",
        ),
        (Place(network="mine", ipv6="fd00::1"), InvalidParameter, "user configured subnets"),
        (Place(network="ours", ipv4="172.18.0.9"), InvalidParameter, "user configured subnets"),
    ):
        with pytest.raises(kind, match=text):
            world.controller.members.allocate("rival", [place], name="rival")
    assert world.controller.members.of("rival") == []


@isolated
def test_ipv6_side_by_side_published_and_masqueraded(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("six", enable_ipv6=True))
    (web,) = world.join("web", Place(network="six"), ports=[WEB])
    (other,) = world.join("other", Place(network="six"))
    assert web.ipv6.startswith("fd")
    assert {each.host_address for each in web.ports} == {"0.0.0.0", "::"}
    with socket_six(world.netns("web")) as server:
        server.bind(("::", 80))
        server.listen()
        for netns, address in ((world.netns("other"), web.ipv6), (None, web.ipv6), (None, web.gateway6)):
            port = 80 if address == web.ipv6 else 8080
            with socket_six(netns) as client:
                client.connect((address, port))
                peer = server.accept()[1][0]
                assert peer == (other.ipv6 if netns else web.gateway6)
    assert reachable(None, web.ipv4, 22) is False
    with tcp() as rival, pytest.raises(OSError, match="in use"):
        rival.bind(("0.0.0.0", 8080))
    with socket_six(None) as rival6, pytest.raises(OSError, match="in use"):
        rival6.bind(("::", 8080))
    world.stop("web")
    assert "8080" not in ruleset()


def socket_six(netns: int | None) -> socket.socket:
    def make() -> socket.socket:
        return socket.socket(socket.AF_INET6, socket.SOCK_STREAM)

    made = make() if netns is None else inside(netns, make)
    assert isinstance(made, socket.socket)
    made.settimeout(2)
    return made


@isolated
def test_a_network_without_ipv4(tmp_path):
    world = World(str(tmp_path))
    network = world.controller.create_network(wish("six", enable_ipv4=False, enable_ipv6=True))
    assert [each.version for each in network.subnets] == [6]
    (web,) = world.join("web", Place(network="six"))
    assert (web.ipv4, web.gateway) == ("", "")
    assert web.ipv6


@isolated
def test_options_of_the_bridge(tmp_path):
    world = World(str(tmp_path))
    prefix = "com.docker.network.bridge."
    options = {
        f"{prefix}name": "tmine0",
        f"{prefix}enable_icc": "false",
        f"{prefix}enable_ip_masquerade": "false",
        f"{prefix}host_binding_ipv4": "127.0.0.1",
        "com.docker.network.driver.mtu": "1300",
        "com.docker.network.container_iface_prefix": "net",
    }
    world.controller.create_network(wish("mine", options=options))
    (web,) = world.join("web", Place(network="mine"), ports=[WEB])
    world.join("other", Place(network="mine"))
    assert (web.ifname, web.ports[0].host_address) == ("net0", "127.0.0.1")
    with NetlinkSocket() as sock:
        assert route.get_link(sock, "tmine0").mtu == route.get_link(sock, web.host_ifname).mtu == 1300
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert not reachable(world.netns("other"), web.ipv4, 80)
        assert not reachable(world.outside, HOST, 8080)
        assert reachable(None, "127.0.0.1", 8080)
    with serving(world.outside, OUTSIDE, 7000) as server:  # nobody hides its address
        assert peer_of_connection(server, world.netns("web"), OUTSIDE, 7000) == web.ipv4


@isolated
def test_routed_networks_are_reachable_at_published_ports_only(tmp_path):
    world = World(str(tmp_path))
    options = {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}
    world.controller.create_network(wish("plain", "10.9.0.0/24", options=options))
    (web,) = world.join("web", Place(network="plain"), ports=[WEB])

    def route_to_network() -> None:
        with NetlinkSocket() as sock:
            index = route.link_index(sock, "eth0")
            network, gateway = socket.inet_aton("10.9.0.0"), socket.inet_aton(HOST)
            sock.transact([route.route(index, destination=network, prefix_length=24, gateway=gateway)])

    inside(world.outside, route_to_network)
    with serving(world.netns("web"), "0.0.0.0", 80) as server, serving(world.netns("web"), "0.0.0.0", 22):
        assert peer_of_connection(server, world.outside, web.ipv4, 80) == OUTSIDE
        assert not reachable(world.outside, web.ipv4, 22)
        assert not reachable(world.outside, HOST, 8080)
    world.stop("web")
    (again,) = world.join("again", Place(network="plain"))
    with serving(world.netns("again"), "0.0.0.0", 80):
        assert not reachable(world.outside, again.ipv4, 80)


@isolated
def test_refused_networks_leave_nothing(tmp_path):
    world = World(str(tmp_path))
    controller = world.controller
    controller.create_network(wish("mine", "10.7.0.0/24"))
    controller.create_network(wish("recipe", "10.6.0.0/24", config_only=True))
    before, names = link_names(), [each.name for each in controller.networks()]
    bad_option = {"com.docker.network.bridge.enable_icc": "perhaps"}
    mine = {"com.docker.network.bridge.name": "out0"}
    for request, kind, text in (
        (wish("mine"), Conflict, "network with name mine already exists"),
        (wish("bridge"), Forbidden, "operation is not permitted on predefined bridge network"),
        (wish(" "), InvalidParameter, "name is empty"),
        (wish("x", "10.7.0.128/25"), Forbidden, "Pool overlaps with other one on this address space"),
        (wish("x", "10.8.0.3/24"), InvalidParameter, "invalid subnet 10.8.0.3/24: it should be 10.8.0.0/24"),
        (wish("x", "nonsense"), InvalidParameter, "invalid subnet nonsense: invalid CIDR block notation"),
        (wish("x", driver="nosuch"), NotFound, 'plugin "nosuch" not found'),
        (wish("x", driver="host"), Forbidden, 'only one instance of "host" network is allowed'),
        (wish("x", ingress=True), NotSupported, "cluster mode"),
        (
            wish("x", options=bad_option),
            InvalidParameter,
            "failed to parse com.docker.network.bridge.enable_icc",
        ),
        (wish("x", options=mine), Conflict, "existing interface out0 is not a bridge"),
        (wish("x", config_from=ConfigReference(network="none-such")), NotFound, "not found"),
        (wish("x", enable_ipv4=False), InvalidParameter, "IPv4 or IPv6 must be enabled"),
    ):
        with pytest.raises(kind, match=text):
            controller.create_network(request)
    assert link_names() == before
    assert [each.name for each in controller.networks()] == names
    controller.create_network(wish("made", config_from=ConfigReference(network="recipe")))
    with pytest.raises(Forbidden, match='configuration network "recipe" is in use'):
        controller.remove_network("recipe")
    world.join("web", Place(network="mine"))
    with pytest.raises(
        Forbidden, match=r'network mine has active endpoints \(name:"web" id:"[0-9a-f]{12}"\)'
    ):
        controller.remove_network("mine")
    with pytest.raises(Forbidden, match="bridge is a pre-defined network and cannot be removed"):
        controller.remove_network("bridge")


@isolated
def test_networks_outlive_the_engine_and_the_machine(tmp_path):
    world = World(str(tmp_path))
    network = world.controller.create_network(wish("mine", enable_ipv6=True))
    world.controller.close()
    with NetlinkSocket() as sock:  # as after a reboot
        sock.transact([route.delete_link(name=network.bridge)])
    with Nftables() as nftables:
        nftables.apply("flush ruleset")
    world.controller = world.new_controller()
    assert world.controller.get_network("mine") == network
    (web,) = world.join("web", Place(network="mine"), ports=[WEB])
    with serving(world.netns("web"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
        assert not reachable(world.outside, web.ipv4, 80)
    world.stop("web")
    world.controller.remove_network(network.id[:12])
    assert network.bridge not in link_names()
    assert network.bridge not in ruleset()


@isolated
def test_a_connection_cut_short_by_a_crash_is_no_connection(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("mine"))
    world.start("web")
    (late,) = world.controller.members.allocate("web", [Place(network="mine")], name="web")
    with NetlinkSocket() as sock:  # as if its link had never been made
        sock.transact([route.delete_link(name=late.host_ifname)])
    world.controller.members.sandbox("web").close()
    world.controller.close()
    world.controller = world.new_controller()
    assert [each.network_name for each in world.controller.members.of("web")] == ["bridge"]


@isolated
def test_the_administrators_chain_is_kept_and_obeyed(tmp_path):
    world = World(str(tmp_path))
    world.start("web", WEB)
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert reachable(world.outside, HOST, 8080)
        with Nftables() as nftables:
            nftables.apply(f"add rule inet tcorten_user forward ip saddr {OUTSIDE} drop")
        assert not reachable(world.outside, HOST, 8080)
        world.controller.create_network(wish("mine"))
        world.controller.close()
        world.controller = world.new_controller()
        assert not reachable(world.outside, HOST, 8080)
    world.stop("web")
    world.controller.dismantle()
    assert "tcorten" not in ruleset()


@isolated
def test_a_thousand_published_ports_are_as_many_elements(tmp_path):
    world = World(str(tmp_path))
    many = [
        PortRequest(protocol="tcp", container_port=80, first_host_port=port, last_host_port=port)
        for port in range(20000, 21000)
    ]
    world.start("web", *many)
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert reachable(world.outside, HOST, 20000)
        assert reachable(world.outside, HOST, 20999)
    world.stop("web")
    assert "20500" not in ruleset()


@isolated
def test_ipv6_on_the_default_bridge(tmp_path):
    world = World(str(tmp_path), ipv6=True)
    web = world.start("web", WEB)
    assert web.ipv6
    assert {each.host_address for each in web.ports} == {"0.0.0.0", "::"}
    world.controller.close()
    world.controller = world.new_controller()
    assert world.controller.members.of("web") == [web]
    with Nftables() as nftables:
        nftables.apply("flush ruleset")
    world.controller.check_firewall()
    assert "table ip6 tcorten" in ruleset()
    with socket_six(world.netns("web")) as server:
        server.bind(("::", 80))
        server.listen()
        with socket_six(None) as client:
            client.connect((web.gateway6, 8080))


@isolated
def test_ipv6_ports_of_loopback_are_for_nobody_else(tmp_path):
    """There is no route_localnet for IPv6: such a port reaches nobody, rather than too many."""
    world = World(str(tmp_path))
    world.controller.create_network(wish("six", enable_ipv6=True))
    local = PortRequest(
        protocol="tcp", container_port=80, host_address="::1", first_host_port=8080, last_host_port=8080
    )
    (web,) = world.join("web", Place(network="six"), ports=[local])
    world.join("other", Place(network="six"))
    with socket_six(world.netns("web")) as server:
        server.bind(("::", 80))
        server.listen()
        with socket_six(world.netns("other")) as client, pytest.raises(OSError, match="refused|timed out"):
            client.connect((web.gateway6, 8080))
    with pytest.raises(InvalidParameter, match="the container has no IPv6 address"):
        world.start("plain", local)


@pytest.mark.parametrize("name", ['x"; flush ruleset', "a b", "toolongforalink0", "../x"])
@isolated
def test_names_of_bridges_are_names_of_links(tmp_path, name):
    world = World(str(tmp_path))
    with pytest.raises(InvalidParameter, match="is no name of a link"):
        world.controller.create_network(wish("x", options={"com.docker.network.bridge.name": name}))


@isolated
def test_several_subnets_of_one_network(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(
        wish("wide", "10.7.0.0/30", "10.8.0.0/24", "fd00:7::/64", "fd00:8::/64", enable_ipv6=True)
    )
    (one,) = world.join("one", Place(network="wide"), ports=[WEB])
    (two,) = world.join("two", Place(network="wide"))  # the first subnet has room for one
    (three,) = world.join("three", Place(network="wide", ipv4="10.8.0.9", ipv6="fd00:8::9"))
    assert (one.ipv4, one.prefix_length, one.gateway) == ("10.7.0.2", 30, "10.7.0.1")
    assert (two.ipv4, two.prefix_length, two.gateway) == ("10.8.0.2", 24, "10.8.0.1")
    assert (three.ipv4, three.ipv6, three.gateway6) == ("10.8.0.9", "fd00:8::9", "fd00:8::1")
    with pytest.raises(InvalidParameter, match="no configured subnet or ip-range contain"):
        world.controller.members.allocate("four", [Place(network="wide", ipv4="10.9.0.9")], name="four")
    with serving(world.netns("one"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.netns("two"), one.ipv4, 80) == two.ipv4
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
        assert reachable(world.netns("two"), HOST, 8080)
    with serving(world.outside, OUTSIDE, 7000) as server:
        for name in ("one", "two"):
            assert peer_of_connection(server, world.netns(name), OUTSIDE, 7000) == HOST
    world.controller.close()
    world.controller = world.new_controller()
    assert world.controller.members.of("two") == [two]
    for name in ("one", "two", "three"):
        world.stop(name)
    assert world.join("again", Place(network="wide"))[0].ipv4 == "10.7.0.2"
    world.stop("again")
    world.controller.remove_network("wide")
    assert "10.8.0.0" not in ruleset()


@isolated
def test_a_bridge_that_leaves_its_ipv4_address_to_somebody_else(tmp_path):
    world = World(str(tmp_path))
    options = {"com.docker.network.bridge.inhibit_ipv4": "true"}
    network = world.controller.create_network(wish("mine", "10.7.0.0/24", enable_ipv6=True, options=options))
    (web,) = world.join("web", Place(network="mine"))
    assert web.gateway == "10.7.0.1"
    with NetlinkSocket() as sock:
        index = route.link_index(sock, network.bridge)
        own = [len(each.packed) for each in route.addresses(sock) if each.link_index == index]
    assert set(own) == {16}


@isolated
def test_a_network_of_which_one_ip_version_fails_leaves_no_rules(tmp_path):
    world = World(str(tmp_path))
    world.controller.create_network(wish("first", enable_ipv6=True))
    before = ruleset()
    with Nftables() as nftables:  # somebody else's meddling: now the IPv6 half cannot be added
        nftables.apply("add element ip6 tcorten leaving { fd00:7::/64 : drop }")
    with pytest.raises(InternalError, match="failed to create network second"):
        world.controller.create_network(wish("second", "10.7.0.0/24", "fd00:7::/64", enable_ipv6=True))
    assert "10.7.0.0" not in ruleset()
    assert ruleset() == before
