"""macvlan and ipvlan: containers as hosts of the network that a link of the machine leads to."""

import os

import pytest
from world import OUTSIDE, World, inside, isolated, link_names, reachable, serving, wish

from corten.errors import CortenError, InvalidParameter, NotSupported
from corten.linux.netlink import route
from corten.linux.netlink.socket import NetlinkSocket
from corten.network.values import Place

pytestmark = pytest.mark.root

LAN = "192.0.2.0/24"  # of the link out0, behind which the outside is


def has_kind(kind: str) -> bool:
    """Whether this kernel can make links of a kind, on the link to the outside."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    with NetlinkSocket() as sock:
        parent = route.link_index(sock, "out0")
        message = {
            "ipvlan": route.ipvlan("tprobe", parent=parent, netns_fd=home, mode=0),
            "macvlan": route.macvlan("tprobe", parent=parent, netns_fd=home, mode=4),
            "vlan": route.vlan("tprobe", parent=parent, number=7),
            "dummy": route.dummy("tprobe"),
        }[kind]
        try:
            sock.transact([message])
            sock.transact([route.delete_link(name="tprobe")])
        except OSError:
            assert "CORTEN_ALL_KINDS" not in os.environ, f"this kernel should have {kind}"
            return False
        finally:
            os.close(home)
    return True


@isolated
def test_macvlan_containers_are_on_the_lan(tmp_path):
    world = World(str(tmp_path))
    if not has_kind("macvlan"):
        with pytest.raises(NotSupported, match="kernel has no macvlan"):
            world.controller.create_network(wish("lan", LAN, driver="macvlan", options={"parent": "out0"}))
        return
    world.controller.create_network(wish("lan", LAN, driver="macvlan", options={"parent": "out0"}))
    (web,) = world.join("web", Place(network="lan", ipv4="192.0.2.77"))
    assert (web.ipv4, web.host_ifname, web.ifname) == ("192.0.2.77", "", "eth0")
    with serving(world.netns("web"), "0.0.0.0", 80):
        assert reachable(world.outside, "192.0.2.77", 80)
    with serving(world.outside, OUTSIDE, 7000):
        assert reachable(world.netns("web"), OUTSIDE, 7000)
    world.start("plain")
    late = world.controller.members.connect(
        "plain", Place(network="lan"), name="plain", netns_fd=world.netns("plain")
    )
    with serving(world.netns("plain"), "0.0.0.0", 80):
        assert reachable(world.outside, late.ipv4, 80)
    world.controller.members.disconnect(late, world.netns("plain"))

    def names() -> set[str]:
        return link_names()

    assert inside(world.netns("plain"), names) == {"lo", "eth0"}
    world.stop("web")
    world.controller.remove_network("lan")
    assert "out0" in link_names()


@isolated
def test_macvlan_without_parent_leads_nowhere_and_leaves_nothing(tmp_path):
    world = World(str(tmp_path))
    if not has_kind("dummy"):
        with pytest.raises(NotSupported, match="kernel has no dummy"):
            world.controller.create_network(wish("alone", driver="macvlan"))
        return
    network = world.controller.create_network(wish("alone", driver="macvlan"))
    dummy = f"dm-{network.id[:12]}"
    assert dummy in link_names()
    (one,) = world.join("one", Place(network="alone"))
    world.join("two", Place(network="alone"))
    with serving(world.netns("one"), "0.0.0.0", 80):
        assert reachable(world.netns("two"), one.ipv4, 80)
    world.controller.close()
    world.controller = world.new_controller()
    world.stop("one")
    world.stop("two")
    world.controller.remove_network("alone")
    assert dummy not in link_names()


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru"])
@isolated
def test_modes_of_macvlan(tmp_path, mode):
    world = World(str(tmp_path))
    if not has_kind("macvlan"):
        return
    options = {"parent": "out0", "macvlan_mode": mode}
    world.controller.create_network(wish("lan", LAN, driver="macvlan", options=options))
    (one,) = world.join("one", Place(network="lan"))
    if mode == "passthru":
        with pytest.raises(CortenError):
            world.join("two", Place(network="lan"))
        world.controller.members.release("two")
        return
    world.join("two", Place(network="lan"))
    with serving(world.netns("one"), "0.0.0.0", 80):
        assert reachable(world.netns("two"), one.ipv4, 80) == (mode == "bridge")


@isolated
def test_vlan_subinterfaces_come_and_go(tmp_path):
    world = World(str(tmp_path))
    request = wish("tagged", "10.7.0.0/24", driver="macvlan", options={"parent": "out0.42"})
    before = link_names()
    if not has_kind("vlan"):
        with pytest.raises(NotSupported, match="kernel has no vlan"):
            world.controller.create_network(request)
    else:
        world.controller.create_network(request)
        assert "out0.42" in link_names()
        world.join("web", Place(network="tagged"))
        world.stop("web")
        world.controller.remove_network("tagged")
    assert link_names() == before


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@isolated
def test_ipvlan_or_a_clear_word_that_the_kernel_has_none(tmp_path, mode):
    world = World(str(tmp_path))
    request = wish("lan", LAN, driver="ipvlan", options={"parent": "out0", "ipvlan_mode": mode})
    before = link_names()
    if not has_kind("ipvlan"):
        with pytest.raises(NotSupported, match="kernel has no ipvlan"):
            world.controller.create_network(request)
        assert link_names() == before
        return
    world.controller.create_network(request)
    (one,) = world.join("one", Place(network="lan", ipv4="192.0.2.77"))
    world.join("two", Place(network="lan", ipv4="192.0.2.78"))
    assert bool(one.gateway) == (mode == "l2")
    with serving(world.netns("one"), "0.0.0.0", 80):
        assert reachable(world.netns("two"), one.ipv4, 80)
    if mode == "l2":
        with serving(world.outside, OUTSIDE, 7000):
            assert reachable(world.netns("one"), OUTSIDE, 7000)


@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
@isolated
def test_flags_of_ipvlan(tmp_path, flag):
    world = World(str(tmp_path))
    options = {"parent": "out0", "ipvlan_flag": flag}
    if not has_kind("ipvlan"):
        return
    world.controller.create_network(wish("lan", LAN, driver="ipvlan", options=options))
    (one,) = world.join("one", Place(network="lan", ipv4="192.0.2.77"))
    world.join("two", Place(network="lan", ipv4="192.0.2.78"))
    with serving(world.netns("one"), "0.0.0.0", 80):
        assert reachable(world.netns("two"), one.ipv4, 80) == (flag == "bridge")
        assert reachable(world.outside, one.ipv4, 80)


@isolated
def test_a_flag_that_ipvlan_does_not_know(tmp_path):
    world = World(str(tmp_path))
    with pytest.raises(InvalidParameter, match="requested ipvlan flag 'sideways' is not valid"):
        world.controller.create_network(
            wish("lan", LAN, driver="ipvlan", options={"parent": "out0", "ipvlan_flag": "sideways"})
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"parent": "nosuch"}, "invalid subinterface vlan name nosuch, example formatting is eth0.10"),
        ({"parent": "nosuch.10"}, "failed to find master interface nosuch"),
        ({"parent": "out0.5000"}, "vlan id must be between 1-4094"),
        ({"parent": "out0", "macvlan_mode": "sideways"}, "requested macvlan mode 'sideways' is not valid"),
    ],
)
@isolated
def test_refused_parents(tmp_path, options, text):
    world = World(str(tmp_path))
    before = link_names()
    with pytest.raises(InvalidParameter, match=text):
        world.controller.create_network(wish("lan", LAN, driver="macvlan", options=options))
    assert link_names() == before
    assert [each.name for each in world.controller.networks()] == ["bridge", "host", "none"]
