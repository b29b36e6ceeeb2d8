"""Engine restarts, engines side by side, and what must not be left behind."""

import select
import socket
import subprocess

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

from corten.errors import Forbidden, InvalidParameter, NoSuchNetwork, NotSupported, Unavailable
from corten.linux.netlink import route, sysctl
from corten.linux.netlink.nftables import Nftables
from corten.linux.netlink.socket import NetlinkSocket
from corten.metadata.ledger import Ledger
from corten.network.config import NetworkConfig
from corten.network.controller import Controller
from corten.network.firewall.passage import Passage
from corten.network.ports import PortUnavailable
from corten.network.values import Place, PortRequest

pytestmark = pytest.mark.root


def web(port: int = 8080, address: str = "") -> PortRequest:
    return PortRequest(
        protocol="tcp", container_port=80, host_address=address, first_host_port=port, last_host_port=port
    )


def ruleset() -> str:
    with Nftables() as nftables:
        return nftables.apply("list ruleset")


def link_names() -> set[str]:
    with NetlinkSocket() as sock:
        return {each.name for each in route.links(sock)}


@isolated
def test_connections_survive_an_engine_restart(tmp_path):
    world = World(str(tmp_path))
    before = world.start("web", web())
    with serving(world.netns("web"), "0.0.0.0", 80) as server, tcp(world.outside) as client:
        client.connect((HOST, 8080))
        accepted, _ = server.accept()
        world.controller.close()  # and no more: as after kill -9
        assert reachable(world.outside, HOST, 8080)
        world.controller = world.new_controller()
        client.sendall(b"still there?")
        assert accepted.recv(64) == b"still there?"
        assert reachable(world.outside, HOST, 8080)
    assert world.controller.members.of("web") == [before]
    with tcp() as rival, pytest.raises(OSError, match="in use"):
        rival.bind(("0.0.0.0", 8080))
    assert world.start("next").ipv4 != before.ipv4
    world.stop("web")
    assert "published" in ruleset()
    assert "8080" not in ruleset()


@isolated
def test_the_dead_lose_address_and_ports_at_restart(tmp_path):
    world = World(str(tmp_path))
    world.start("web", web())
    world.controller.close()
    world.sandboxes.pop("web").close()
    world.controller = world.new_controller()
    assert world.controller.members.of("web") == []
    assert "8080" not in ruleset()
    world.start("web", web())


@isolated
def test_network_ids_and_subnet_stay(tmp_path):
    world = World(str(tmp_path))
    first = world.controller.networks()
    world.controller.close()
    second = world.new_controller().networks()
    assert [(each.id, each.name, each.subnets) for each in first] == [
        (each.id, each.name, each.subnets) for each in second
    ]
    assert [each.name for each in first] == ["bridge", "host", "none"]
    assert all(len(each.id) == 64 for each in first)


@isolated
def test_engines_side_by_side_do_not_meet(tmp_path):
    world = World(str(tmp_path))
    (tmp_path / "other").mkdir()
    settings = NetworkConfig(bridge="tcorten1", table="tcorten_other", link_prefix="vd")
    other = Controller(Ledger(str(tmp_path / "other" / "meta.db")), settings)
    other.restore()
    assert other.problems == []
    mine = world.start("mine", web())
    theirs = world.start("theirs", web(8081), controller=other)
    assert mine.gateway != theirs.gateway
    with serving(world.netns("theirs"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.outside, HOST, 8081) == OUTSIDE
        assert not reachable(world.netns("mine"), theirs.ipv4, 80)
        assert reachable(world.netns("mine"), HOST, 8081)
    with pytest.raises(
        PortUnavailable, match=r"failed to bind host port for 0\.0\.0\.0:8080:.*: address already in"
    ):
        other.members.allocate("third", [Place(network="bridge")], name="third", ports=[web()])
    other.dismantle()
    with serving(world.netns("mine"), "0.0.0.0", 80) as server:
        assert peer_of_connection(server, world.outside, HOST, 8080) == OUTSIDE
    assert "tcorten_other" not in ruleset()
    assert "tcorten1" not in link_names()


@isolated
def test_nothing_is_left(tmp_path):
    world = World(str(tmp_path))
    before = link_names()
    for number in range(3):
        world.start(f"c{number}", web(8080 + number))
    for number in range(3):
        world.stop(f"c{number}")
    for _ in range(100):
        if link_names() == before:
            break
        _nap()
    assert link_names() == before
    assert world.ledger.query("SELECT * FROM endpoints") == []
    assert world.ledger.query("SELECT * FROM port_bindings") == []
    world.controller.dismantle()
    assert "tcorten" not in ruleset()
    assert "tcorten0" not in link_names()


def _nap() -> None:
    with udp() as sleeper:  # the kernel takes namespaces down in the background
        sleeper.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sleeper.recv(1)


@isolated
def test_refused_requests_leave_nothing(tmp_path):
    world = World(str(tmp_path))
    controller = world.controller
    world.start("first", web())
    with pytest.raises(PortUnavailable) as caught:
        controller.members.allocate(
            "second", [Place(network="bridge")], name="second", ports=[web(8090), web()]
        )
    assert str(caught.value).startswith(
        "driver failed programming external connectivity on endpoint second ("
    )
    assert str(caught.value).endswith("): Bind for 0.0.0.0:8080 failed: port is already allocated")
    with pytest.raises(PortUnavailable, match="cannot assign requested address"):
        controller.members.allocate(
            "second", [Place(network="bridge")], name="second", ports=[web(8090, "203.0.113.7")]
        )
    with pytest.raises(InvalidParameter, match="invalid MAC address"):
        controller.members.allocate(
            "second", [Place(network="bridge", mac="01:00:00:00:00:01")], name="second"
        )
    with pytest.raises(InvalidParameter, match="user specified IP address"):
        controller.members.allocate("second", [Place(network="bridge", ipv4="172.17.0.9")], name="second")
    with pytest.raises(NoSuchNetwork, match="network nosuch not found"):
        controller.members.allocate("second", [Place(network="nosuch")], name="second")
    with pytest.raises(Forbidden, match="already exists"):
        controller.members.allocate("first", [Place(network="bridge")], name="first")
    with pytest.raises(NotSupported, match="SCTP"):
        sctp = PortRequest(protocol="sctp", container_port=80, first_host_port=8090, last_host_port=8090)
        controller.members.allocate("second", [Place(network="bridge")], name="second", ports=[sctp])
    assert controller.members.of("second") == []
    assert [row["container_id"] for row in world.ledger.query("SELECT * FROM endpoints")] == ["first"]
    (second,) = controller.members.allocate(
        "second", [Place(network="bridge")], name="second", ports=[web(8090)]
    )
    assert second.ports[0].host_port == 8090
    first_number = int(socket.inet_aton(controller.members.of("first")[0].ipv4).hex(), 16)
    assert int(socket.inet_aton(second.ipv4).hex(), 16) > first_number


@isolated
def test_ports_are_chosen_from_ranges(tmp_path):
    world = World(str(tmp_path))
    first, last = sysctl.local_port_range()
    with serving(None, "0.0.0.0", first):  # somebody has it already
        anything = PortRequest(protocol="tcp", container_port=80)
        chosen = [world.start(f"c{number}", anything).ports[0].host_port for number in range(3)]
    assert chosen == [first + 1, first + 2, first + 3]
    some = PortRequest(protocol="tcp", container_port=80, first_host_port=8000, last_host_port=8001)
    assert world.start("a", some).ports[0].host_port == 8000
    assert world.start("b", some).ports[0].host_port == 8001
    with pytest.raises(PortUnavailable, match="all ports are allocated"):
        world.controller.members.allocate("c", [Place(network="bridge")], name="c", ports=[some])
    both = world.start("d", web(9000, "127.0.0.1"), web(9000, HOST))
    assert {each.host_address for each in both.ports} == {"127.0.0.1", HOST}


@isolated
def test_host_and_none_have_endpoints_without_addresses(tmp_path):
    world = World(str(tmp_path))
    for network in ("host", "none"):
        (endpoint,) = world.controller.members.allocate(
            network, [Place(network=network)], name=network, ports=[web()]
        )
        assert (endpoint.ipv4, endpoint.mac, endpoint.ports) == ("", "", ())
        assert world.controller.members.inside(endpoint.network_id) == [endpoint]
        world.controller.members.rename(network, "renamed")
        assert world.controller.members.of(network)[0].name == "renamed"
        world.controller.members.release(network)
        assert world.controller.members.inside(endpoint.network_id) == []


@isolated
def test_an_unusual_machine_costs_only_the_bridge(tmp_path):
    world = World(str(tmp_path), bridge="none")
    with pytest.raises(Unavailable):
        world.controller.members.allocate("a", [Place(network="bridge")], name="a")
    world.controller.members.allocate("a", [Place(network="host")], name="a")
    with NetlinkSocket() as sock:
        sock.transact([route.veth("tcorten9", "tpeer", master=0, peer_netns_fd=world.outside, mtu=1500)])
    broken = Controller(world.ledger, NetworkConfig(bridge="tcorten9", table="tcorten"))
    broken.restore()
    assert broken.problems == ["bridge network is not available: existing interface tcorten9 is not a bridge"]
    with pytest.raises(Unavailable, match="not a bridge"):
        broken.members.allocate("b", [Place(network="bridge")], name="b")


@isolated
def test_a_bridge_of_the_administrator_is_used_as_it_is(tmp_path):
    with NetlinkSocket() as sock:
        sock.transact([route.bridge("tadmin0", mac=bytes.fromhex("0242aabbccdd"), mtu=1300)])
        index = route.link_index(sock, "tadmin0")
        sock.transact([route.address(index, socket.inet_aton("10.99.0.1"), 24)])
        sock.transact([route.address(index, socket.inet_aton("10.98.0.1"), 24)])
    world = World(str(tmp_path), bridge="tadmin0")
    endpoint = world.start("web")
    assert (endpoint.gateway, endpoint.ipv4, endpoint.prefix_length) == ("10.99.0.1", "10.99.0.2", 24)
    world.controller.dismantle()
    with NetlinkSocket() as sock:
        assert route.get_link(sock, "tadmin0").mtu == 1300
        here = [each.packed for each in route.addresses(sock, route.AF_INET) if each.link_index == index]
    assert here == [socket.inet_aton("10.99.0.1"), socket.inet_aton("10.98.0.1")]


@isolated
def test_settings_of_daemon_json_take_effect(tmp_path):
    document = {
        "bridge": "tcorten0",
        "bip": "10.77.0.254/24",
        "fixed-cidr": "10.77.0.64/30",
        "default-gateway": "10.77.0.65",
        "mtu": 1280,
        "ip": "127.0.0.1",
        "ip-masq": False,
    }
    config = NetworkConfig.from_document(document, table="tcorten")
    world = World(str(tmp_path), **{name: getattr(config, name) for name in NetworkConfig.__slots__})
    endpoint = world.start("a", web())
    assert (endpoint.gateway, endpoint.ipv4, endpoint.prefix_length) == ("10.77.0.65", "10.77.0.64", 24)
    assert endpoint.ports[0].host_address == "127.0.0.1"
    assert {world.start("b").ipv4, world.start("c").ipv4} == {"10.77.0.66", "10.77.0.67"}
    with pytest.raises(Unavailable, match="no available IPv4 addresses"):
        world.controller.members.allocate("d", [Place(network="bridge")], name="d")
    assert 'oifname != "tcorten0"' not in ruleset()

    def container_mtu() -> int:
        with NetlinkSocket() as sock:
            return route.get_link(sock, "eth0").mtu

    assert inside(world.netns("a"), container_mtu) == 1280


@isolated
def test_subnet_avoids_what_the_machine_routes(tmp_path):
    with NetlinkSocket() as sock:
        sock.transact([route.bridge("tother0", mac=bytes.fromhex("0242aabbccdd"), mtu=1500)])
        index = route.link_index(sock, "tother0")
        sock.transact([route.address(index, socket.inet_aton("172.17.5.1"), 24)])
        half = socket.inet_aton("128.0.0.0")  # a VPN's default route; no reason to give up
        sock.transact([route.route(index, destination=half, prefix_length=1)])
    world = World(str(tmp_path))
    assert str(world.controller.get_network("bridge").subnets[0].subnet) == "172.18.0.0/16"


@isolated
def test_forwarding_that_we_switched_on_is_for_bridges_only(tmp_path):
    sysctl.write("ipv4/ip_forward", "0")
    world = World(str(tmp_path))
    assert sysctl.read("ipv4/ip_forward") == "1"
    assert 'iifkind != "bridge"' in ruleset()
    world.controller.close()
    world.controller = world.new_controller()
    assert 'iifkind != "bridge"' in ruleset()  # remembered, for now it was on already


@isolated
def test_forwarding_that_was_on_is_left_alone(tmp_path):
    sysctl.write("ipv4/ip_forward", "1")
    World(str(tmp_path))
    assert "iifkind" not in ruleset()


_RIVAL = """
add table ip filter
add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
add chain ip filter INPUT { type filter hook input priority 0; policy accept; }
add rule ip filter FORWARD tcp dport 7001 counter drop
"""


@isolated
def test_firewalls_of_others_that_drop_everything_let_our_bridges_through(tmp_path):
    """And what they forbid expressly stays forbidden; what others forward is none of our business."""
    with Nftables() as nftables:
        nftables.apply(_RIVAL)
    world = World(str(tmp_path))
    controller = world.controller
    assert controller.problems == []
    world.controller.create_network(wish("other"))
    world.join("web", Place(network="bridge"), ports=[web()])
    world.join("two", Place(network="other"))
    with serving(world.outside, OUTSIDE, 7000), serving(world.outside, OUTSIDE, 7001):
        for name in ("web", "two"):
            assert reachable(world.netns(name), OUTSIDE, 7000)
            assert not reachable(world.netns(name), OUTSIDE, 7001)
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert reachable(world.outside, HOST, 8080)
    listed = subprocess.run(["iptables-nft", "-S"], check=True, capture_output=True, text=True)
    assert "-A FORWARD -j TCORTEN_FORWARD" in listed.stdout
    assert listed.stdout.count("-A TCORTEN_FORWARD") == 4
    for change in ("add rule ip filter FORWARD tcp dport 7002 drop", "flush chain ip filter FORWARD"):
        with Nftables() as nftables:
            nftables.apply(change + "\n")
        assert select.select([controller.firewall_events], [], [], 5)[0]
        controller.check_firewall()
        with serving(world.outside, OUTSIDE, 7000), serving(world.outside, OUTSIDE, 7002):
            assert reachable(world.netns("web"), OUTSIDE, 7000)
            assert reachable(world.netns("web"), OUTSIDE, 7002) == ("flush" in change)
    for name in ("web", "two"):
        world.stop(name)
    controller.remove_network("other")
    controller.dismantle()
    assert "TCORTEN" not in ruleset()


@isolated
def test_engines_do_not_jostle_for_the_last_place(tmp_path):
    """Each is woken by what another one changes: it must find nothing to do."""
    with Nftables() as nftables:
        nftables.apply(_RIVAL)
        passages = [Passage("corten"), Passage("corten_0123ab")]
        for change in ("", "add rule ip filter FORWARD tcp dport 7002 drop\n"):
            nftables.apply(change)
            for each in (*passages, passages[0]):
                each.update(["tcorten0"])
            settled = nftables.apply("list chain ip filter FORWARD")
            for each in passages:
                each.update(["tcorten0"])
                assert nftables.apply("list chain ip filter FORWARD") == settled
            assert settled.rindex(" drop\n") < settled.index("jump CORTEN")
        for each in passages:
            each.remove()
    assert "CORTEN" not in ruleset()


@isolated
def test_firewalls_of_others_that_cannot_be_changed_are_named(tmp_path):
    with Nftables() as nftables:
        nftables.apply(
            "add table ip mine { flags owner; }\n"
            "add chain ip mine FORWARD { type filter hook forward priority 0; policy drop; }\n"
        )
        controller = Controller(
            Ledger(str(tmp_path / "meta.db")), NetworkConfig(bridge="tcorten0", table="tcorten")
        )
        controller.restore()
        (problem,) = controller.problems
        assert problem.startswith("the firewall chain mine FORWARD drops forwarded packets")
        controller.members.allocate("a", [Place(network="bridge")], name="a", ports=[web()])
    assert select.select([controller.firewall_events], [], [], 5)[0]  # its owner has gone, and it with him
    controller.check_firewall()
    assert controller.problems == []


@isolated
def test_rules_come_back_after_the_firewall_was_flushed(tmp_path):
    """SECURITY.md, CVE-2025-54388: what is protected must not lie open after a reload."""
    world = World(str(tmp_path))
    endpoint = world.start("web", web())
    controller = world.controller
    events = controller.firewall_events
    assert events is not None
    controller.check_firewall()
    assert select.select([events], [], [], 0)[0] == []
    world.start("other", web(8081))  # our own changes do not wake us
    world.stop("other")
    assert select.select([events], [], [], 0)[0] == []
    with Nftables() as nftables:
        nftables.apply("flush ruleset")
    assert select.select([events], [], [], 1)[0] == [events]
    controller.check_firewall()
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert reachable(world.outside, HOST, 8080)
        assert not reachable(world.outside, endpoint.ipv4, 80)
    controller.check_firewall()
    assert select.select([events], [], [], 0)[0] == []
    with Nftables() as nftables:
        nftables.apply("flush ruleset")
    world.start("late", web(8082))  # before anybody has noticed
    for name, port in (("web", 8080), ("late", 8082)):
        with serving(world.netns(name), "0.0.0.0", 80):
            assert reachable(world.outside, HOST, port)
    assert controller.problems == []


@isolated
def test_read_only_sysctls_cost_only_what_needs_them(tmp_path):
    sysctl.write("ipv4/ip_forward", "0")
    for arguments in (
        ["--make-rprivate", "/"],
        ["--bind", "/proc/sys", "/proc/sys"],
        ["-o", "remount,bind,ro", "/proc/sys"],
    ):
        subprocess.run(["mount", *arguments], check=True)
    controller = Controller(
        Ledger(str(tmp_path / "meta.db")), NetworkConfig(bridge="tcorten0", table="tcorten")
    )
    controller.restore()
    (problem,) = controller.problems
    assert problem.startswith("IPv4 forwarding is disabled and cannot be switched on")
    endpoints = controller.members.allocate("web", [Place(network="bridge")], name="web", ports=[web()])
    (endpoint,) = endpoints
    with controller.members.sandbox("web") as sandbox:
        controller.members.realise(endpoints, sandbox)
        with serving(sandbox.netns_fd, "0.0.0.0", 80) as server:
            assert peer_of_connection(server, None, endpoint.gateway, 8080) == endpoint.gateway
