"""The nf_tables table as text for nft(8).

::

    from outside ── raw_prerouting ── nat_prerouting ── forward ── into_<bridge> ──► container
    from the host ── nat_output ── nat_postrouting ──► container
    from a container ── nat_prerouting ── forward ── nat_postrouting ── leave_<bridge> ──► outside

Base chains find a network's own chains through maps by interface and by source, so that a packet's way
is as long with a thousand networks as with one, and networks come and go without the table being
rewritten. A published port is one element of a map, too.

Whatever is published on a loopback address is reachable from this machine only: packets that claim such a
destination are dropped before anything looks at them (CVE-2020-8558, moby CVE-2025-54388), and a container's
own address is reachable from elsewhere only through a published port, because `into_<bridge>` asks for
the NAT (or, on a routed network, for an element of `open`).

An nf_tables verdict "accept" ends our chain only: where other tables drop forwarded packets (Docker's and
ufw's FORWARD policy), `passage` has them let our bridges through; "drop" is final for everybody. The table
`<table>_user` is the administrator's: it is made if it is missing and never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corten.linux.netlink.nfnetlink import NFPROTO_IPV4, NFPROTO_IPV6
from corten.network.values import ANY_ADDRESS, ANY_ADDRESS6

PUBLISHED_ANY = "published_any"
PUBLISHED_AT = "published_at"
OPEN = "open"
_TUNNEL = "filter hook input priority -10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What differs between IPv4 and IPv6."""

    number: int  # NFPROTO_...
    word: str  # in nft's language
    address_type: str
    loopback: str
    any_address: str
    ping: str


IPV4 = Family(
    number=NFPROTO_IPV4,
    word="ip",
    address_type="ipv4_addr",
    loopback="127.0.0.0/8",
    any_address=ANY_ADDRESS,
    ping="icmp type echo-request",
)
IPV6 = Family(
    number=NFPROTO_IPV6,
    word="ip6",
    address_type="ipv6_addr",
    loopback="::1",
    any_address=ANY_ADDRESS6,
    ping="icmpv6 type echo-request",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelRules:
    """Who may send frames into a network by VXLAN: from others what has its number (VNI) is dropped."""

    vni: int
    port: int
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRules:
    """What the table has to know of a bridge network of the table's family.

    mode: "nat", "nat-unprotected" or "routed". source: the address of packets that leave, instead of the
    interface's. internal: nothing comes in or goes out.
    """

    bridge: str
    subnets: tuple[str, ...]
    icc: bool
    masquerade: bool
    internal: bool = False
    mode: str = "nat"
    source: str = ""
    tunnel: TunnelRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """host_address:host_port leads to container_address:container_port; with host_port 0, only the latter
    is open (routed networks)."""

    protocol: str
    host_address: str
    host_port: int
    container_address: str
    container_port: int


def render(
    family: Family,
    table: str,
    bridges: Iterable[BridgeRules],
    published: Iterable[Published],
    *,
    guard_forwarding: bool,
) -> str:
    """Commands that replace the table, atomically.

    `guard_forwarding`: the machine routes only because we switched that on, so keep it from routing
    between interfaces that are no bridges (Docker's FORWARD policy DROP has the same purpose).
    """
    bridges = list(bridges)
    sections = [
        *_maps(family, bridges, published),
        _chain("raw_prerouting", "filter hook prerouting priority -300", _raw_prerouting(family)),
        _chain("publish", "", _publish(family)),
        _chain("nat_prerouting", "nat hook prerouting priority -100", _to_publish()),
        _chain("nat_output", "nat hook output priority -100", _to_publish()),
        _chain("nat_postrouting", "nat hook postrouting priority 100", _postrouting(family)),
        _chain("forward", "filter hook forward priority 0", _forward(guard=guard_forwarding)),
        *(
            _chain(name, "", rules)
            for each in bridges
            for name, rules in _bridge_chains(family, each).items()
        ),
        *(
            _chain(f"tunnel_{each.bridge}", _TUNNEL, _tunnel(family, each.tunnel))
            for each in bridges
            if each.tunnel is not None
        ),
    ]
    name = f"{family.word} {table}"
    # "add" first, so that "delete" finds a table at the very first time, too
    return f"add table {name}\ndelete table {name}\ntable {name} {{\n" + "\n".join(sections) + "}\n"


def add_bridge(family: Family, table: str, bridge: BridgeRules) -> str:
    """Commands that let a network's packets find its rules."""
    name = f"{family.word} {table}"
    chains = _bridge_chains(family, bridge)
    lines = [f"add chain {name} {chain}" for chain in chains]
    if bridge.tunnel is not None:
        chains[f"tunnel_{bridge.bridge}"] = _tunnel(family, bridge.tunnel)
        lines.append(f"add chain {name} tunnel_{bridge.bridge} {{ type {_TUNNEL}; policy accept; }}")
    lines += [f"add rule {name} {chain} {rule}" for chain, rules in chains.items() for rule in rules]
    lines += [f"add element {name} {map} {{ {each} }}" for map, each in _bridge_elements(bridge).items()]
    return "\n".join(lines) + "\n"


def remove_bridge(family: Family, table: str, bridge: BridgeRules) -> str:
    """Commands that undo `add_bridge`."""
    name = f"{family.word} {table}"
    chains = list(_bridge_chains(family, bridge))
    if bridge.tunnel is not None:
        chains.append(f"tunnel_{bridge.bridge}")
    lines = [f"delete element {name} {map} {{ {each} }}" for map, each in _bridge_elements(bridge).items()]
    lines += [f"flush chain {name} {chain}" for chain in chains]
    lines += [f"delete chain {name} {chain}" for chain in chains]
    return "\n".join(lines) + "\n"


def remove(family: Family, table: str) -> str:
    """Commands that remove the table, whether it is there or not."""
    return f"add table {family.word} {table}\ndelete table {family.word} {table}\n"


def user_table(table: str) -> str:
    """Commands that make the administrator's table if it is not there, and leave it alone if it is."""
    name = f"inet {table}_user"
    hook = "type filter hook forward priority -10; policy accept;"
    return f"add table {name}\nadd chain {name} forward {{ {hook} }}\n"


def remove_user_table(table: str) -> str:
    """Commands that remove the administrator's table."""
    return f"add table inet {table}_user\ndelete table inet {table}_user\n"


def _chain(name: str, base: str, rules: Iterable[str]) -> str:
    head = [f"type {base}; policy accept;"] if base else []
    body = "".join(f"\t\t{line}\n" for line in [*head, *rules])
    return f"\tchain {name} {{\n{body}\t}}\n"


def _maps(family: Family, bridges: list[BridgeRules], published: Iterable[Published]) -> Iterator[str]:
    anywhere: list[str] = []
    somewhere: list[str] = []
    routed: set[str] = set()
    for port in published:
        element = f"{port.protocol} . {port.host_port} : {port.container_address} . {port.container_port}"
        if not port.host_port:
            routed.add(f"{port.container_address} . {port.protocol} . {port.container_port}")
        elif port.host_address == family.any_address:
            anywhere.append(element)
        else:
            somewhere.append(f"{port.host_address} . {element}")
    target = f"{family.address_type} . inet_service"
    yield _map("map", PUBLISHED_ANY, f"inet_proto . inet_service : {target}", anywhere)
    yield _map(
        "map", PUBLISHED_AT, f"{family.address_type} . inet_proto . inet_service : {target}", somewhere
    )
    yield _map("set", OPEN, f"{family.address_type} . inet_proto . inet_service", sorted(routed))
    verdicts = [_bridge_elements(each) for each in bridges]
    for name in ("into", "out_of", "answers"):
        yield _map("map", name, "ifname : verdict", [each[name] for each in verdicts if name in each])
    leaving = [each["leaving"] for each in verdicts if "leaving" in each]
    yield _map("map", "leaving", f"{family.address_type} : verdict; flags interval;", leaving)


def _map(what: str, name: str, kind: str, elements: list[str]) -> str:
    content = f"\t\telements = {{ {', '.join(elements)} }}\n" if elements else ""
    return f"\t{what} {name} {{\n\t\ttype {kind}\n{content}\t}}\n"


def _raw_prerouting(family: Family) -> list[str]:
    # route_localnet on our bridges would let these in
    return [f'iifname != "lo" {family.word} daddr {family.loopback} drop']


def _to_publish() -> list[str]:
    return ["fib daddr type local goto publish"]


def _publish(family: Family) -> list[str]:
    port = "meta l4proto . th dport"
    return [
        f"dnat {family.word} to {family.word} daddr . {port} map @{PUBLISHED_AT}",
        f"dnat {family.word} to {port} map @{PUBLISHED_ANY}",
    ]


def _postrouting(family: Family) -> list[str]:
    return ["oifname vmap @answers", f"{family.word} saddr vmap @leaving"]


def _forward(*, guard: bool) -> list[str]:
    rules = ["iifname vmap @out_of", "oifname vmap @into"]
    if guard:
        rules.append('meta iifkind != "bridge" meta oifkind != "bridge" ct state new drop')
    return rules


def _bridge_chains(family: Family, bridge: BridgeRules) -> dict[str, list[str]]:
    """The rules of a network by chain; the chains that go to others come after those."""
    name, word = bridge.bridge, family.word
    chains = {
        # from the host's loopback: the container could not answer to 127.0.0.1;
        # from a container of the same bridge (or itself) through the host: the answer has to come back to us
        f"answer_{name}": [
            f"{word} saddr {family.loopback} masquerade",
            f"{word} saddr {_any_of(bridge.subnets)} ct status dnat masquerade",
        ],
        f"into_{name}": list(_into(family, bridge)),
    }
    if bridge.internal:
        chains[f"out_of_{name}"] = [f'oifname != "{name}" drop']
    elif bridge.masquerade:
        how = f"snat to {bridge.source}" if bridge.source else "masquerade"
        chains[f"leave_{name}"] = [f'oifname != "{name}" {how}']
    return chains


def _bridge_elements(bridge: BridgeRules) -> dict[str, str]:
    """By map, how packets find the network's chains."""
    name = bridge.bridge
    elements = {"answers": f'"{name}" : jump answer_{name}', "into": f'"{name}" : goto into_{name}'}
    if bridge.internal:
        elements["out_of"] = f'"{name}" : jump out_of_{name}'
    elif bridge.masquerade:
        elements["leaving"] = ", ".join(f"{each} : goto leave_{name}" for each in bridge.subnets)
    return elements


def _tunnel(family: Family, tunnel: TunnelRules) -> list[str]:
    """The number has to be taken out of the packet: 24 bits behind the UDP header and the flags."""
    what = f"udp dport {tunnel.port} @th,96,24 {tunnel.vni}"
    peers = f"{family.word} saddr != {_any_of(tunnel.peers)} " if tunnel.peers else ""
    return [f"{what} {peers}drop"]


def _any_of(subnets: tuple[str, ...]) -> str:
    return subnets[0] if len(subnets) == 1 else f"{{ {', '.join(subnets)} }}"


def _into(family: Family, bridge: BridgeRules) -> Iterator[str]:
    if bridge.internal:
        yield f'iifname != "{bridge.bridge}" drop'
    yield "ct state established,related accept"
    yield "ct status dnat accept"
    if bridge.icc:
        yield f'iifname "{bridge.bridge}" accept'
    if bridge.mode == "routed":
        yield f"{family.ping} accept"
        yield f"{family.word} daddr . meta l4proto . th dport @{OPEN} accept"
    if bridge.mode != "nat-unprotected":
        yield "drop"
