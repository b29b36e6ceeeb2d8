"""The firewall table as text; the golden file is for reviewers."""

from pathlib import Path

from corten.network.firewall.ruleset import (
    IPV4,
    IPV6,
    BridgeRules,
    Published,
    TunnelRules,
    add_bridge,
    remove,
    remove_bridge,
    render,
)

GOLDEN = Path(__file__).parent / "golden" / "ruleset.nft"

BRIDGES = [
    BridgeRules(bridge="corten0", subnets=("172.17.0.0/16",), icc=True, masquerade=True),
    BridgeRules(bridge="br-inner", subnets=("172.19.0.0/16",), icc=True, masquerade=True, internal=True),
    BridgeRules(bridge="br-quiet", subnets=("172.18.0.0/16",), icc=False, masquerade=False),
]
PUBLISHED = [
    Published(
        protocol="tcp",
        host_address="0.0.0.0",
        host_port=8080,
        container_address="172.17.0.2",
        container_port=80,
    ),
    Published(
        protocol="udp",
        host_address="127.0.0.1",
        host_port=5353,
        container_address="172.18.0.2",
        container_port=53,
    ),
]


def test_ruleset():
    text = render(IPV4, "corten", BRIDGES, PUBLISHED, guard_forwarding=True)
    assert text == GOLDEN.read_text()


def test_nothing_published_and_no_guard():
    text = render(IPV4, "corten", BRIDGES, [], guard_forwarding=False)
    assert "8080" not in text
    assert "iifkind" not in text


def test_a_network_that_comes_later_has_the_rules_that_it_has_in_the_whole_table():
    """Whatever `add_bridge` adds, `render` has, and `remove_bridge` removes."""
    bridge = BridgeRules(bridge="br-six", subnets=("fd00:7::/64",), icc=False, masquerade=True, mode="routed")
    whole = render(IPV6, "corten", [bridge], [], guard_forwarding=False)
    added = add_bridge(IPV6, "corten", bridge).splitlines()
    removed = remove_bridge(IPV6, "corten", bridge)
    for line in added:
        kind, name, rest = line.split(" ", 4)[1], line.split(" ", 5)[4], line.split(" ", 5)[5:]
        if kind == "rule":
            assert rest[0] in whole
        elif kind == "chain":
            assert f"chain {name} {{" in whole
            assert f"delete chain ip6 corten {name}\n" in removed
        else:
            assert rest[0].strip("{} ") in whole
            assert line.replace("add", "delete", 1) in removed


def test_a_tunnels_number_is_for_its_peers_only():
    tunnel = TunnelRules(vni=4711, port=4789, peers=("192.0.2.1", "192.0.2.2"))
    bridge = BridgeRules(bridge="br-far", subnets=("10.7.0.0/24",), icc=True, masquerade=True, tunnel=tunnel)
    whole = render(IPV4, "corten", [bridge], [], guard_forwarding=False)
    rule = "udp dport 4789 @th,96,24 4711 ip saddr != { 192.0.2.1, 192.0.2.2 } drop"
    assert (
        "chain tunnel_br-far {\n\t\ttype filter hook input priority -10; policy accept;\n\t\t" + rule in whole
    )
    added = add_bridge(IPV4, "corten", bridge)
    hook = "{ type filter hook input priority -10; policy accept; }"
    assert f"add chain ip corten tunnel_br-far {hook}\n" in added
    assert f"add rule ip corten tunnel_br-far {rule}\n" in added
    assert "delete chain ip corten tunnel_br-far\n" in remove_bridge(IPV4, "corten", bridge)


def test_remove_works_whether_the_table_is_there_or_not():
    assert remove(IPV4, "corten") == "add table ip corten\ndelete table ip corten\n"
