"""The firewall table as text; the golden file is for reviewers."""

from pathlib import Path

from corten.network.firewall.ruleset import IPV4, BridgeRules, Published, remove, render

GOLDEN = Path(__file__).parent / "golden" / "ruleset.nft"

BRIDGES = [
    BridgeRules(bridge="corten0", subnet="172.17.0.0/16", icc=True, masquerade=True),
    BridgeRules(bridge="br-quiet", subnet="172.18.0.0/16", icc=False, masquerade=False),
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
    assert "elements" not in text
    assert "iifkind" not in text


def test_remove_works_whether_the_table_is_there_or_not():
    assert remove(IPV4, "corten") == "add table ip corten\ndelete table ip corten\n"
