"""The nf_tables table as text for nft(8).

::

    from outside ── raw_prerouting ── nat_prerouting ── forward ── into_<bridge> ──► container
    from the host ── nat_output ── nat_postrouting ──► container
    from a container ── nat_prerouting ── forward ── nat_postrouting (masquerade) ──► outside

A published port is one element of a map, so publishing changes no rule. Whatever is published on a
loopback address is reachable from this machine only: packets that claim such a destination are dropped
before anything looks at them (CVE-2020-8558, moby CVE-2025-54388), and a container's own address is
reachable from elsewhere only through a published port, because `into_<bridge>` asks for the NAT.

An nf_tables verdict "accept" ends our chain only: where other tables drop forwarded packets (Docker's and
ufw's FORWARD policy), these have to let our bridges through; "drop" is final for everybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corten.linux.netlink.nfnetlink import NFPROTO_IPV4
from corten.network.values import ANY_ADDRESS

PUBLISHED_ANY = "published_any"
PUBLISHED_AT = "published_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What differs between IPv4 and IPv6."""

    number: int  # NFPROTO_...
    word: str  # in nft's language
    address_type: str
    loopback: str
    any_address: str


IPV4 = Family(
    number=NFPROTO_IPV4, word="ip", address_type="ipv4_addr", loopback="127.0.0.0/8", any_address=ANY_ADDRESS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRules:
    """What the table has to know of a bridge network of the table's family."""

    bridge: str
    subnet: str
    icc: bool
    masquerade: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """host_address:host_port leads to container_address:container_port."""

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
        *_maps(family, published),
        _chain("raw_prerouting", "filter hook prerouting priority -300", _raw_prerouting(family)),
        _chain("publish", "", _publish(family)),
        _chain("nat_prerouting", "nat hook prerouting priority -100", _to_publish()),
        _chain("nat_output", "nat hook output priority -100", _to_publish()),
        _chain("nat_postrouting", "nat hook postrouting priority 100", _postrouting(family, bridges)),
        *(_chain(f"into_{each.bridge}", "", _into(each)) for each in bridges),
        _chain("forward", "filter hook forward priority 0", _forward(bridges, guard=guard_forwarding)),
    ]
    name = f"{family.word} {table}"
    # "add" first, so that "delete" finds a table at the very first time, too
    return f"add table {name}\ndelete table {name}\ntable {name} {{\n" + "\n".join(sections) + "}\n"


def remove(family: Family, table: str) -> str:
    """Commands that remove the table, whether it is there or not."""
    return f"add table {family.word} {table}\ndelete table {family.word} {table}\n"


def _chain(name: str, base: str, rules: Iterable[str]) -> str:
    head = [f"type {base}; policy accept;"] if base else []
    body = "".join(f"\t\t{line}\n" for line in [*head, *rules])
    return f"\tchain {name} {{\n{body}\t}}\n"


def _maps(family: Family, published: Iterable[Published]) -> list[str]:
    anywhere: list[str] = []
    somewhere: list[str] = []
    for port in published:
        element = f"{port.protocol} . {port.host_port} : {port.container_address} . {port.container_port}"
        if port.host_address == family.any_address:
            anywhere.append(element)
        else:
            somewhere.append(f"{port.host_address} . {element}")
    target = f"{family.address_type} . inet_service"
    return [
        _map(PUBLISHED_ANY, f"inet_proto . inet_service : {target}", anywhere),
        _map(PUBLISHED_AT, f"{family.address_type} . inet_proto . inet_service : {target}", somewhere),
    ]


def _map(name: str, kind: str, elements: list[str]) -> str:
    content = f"\t\telements = {{ {', '.join(elements)} }}\n" if elements else ""
    return f"\tmap {name} {{\n\t\ttype {kind}\n{content}\t}}\n"


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


def _postrouting(family: Family, bridges: Iterable[BridgeRules]) -> list[str]:
    rules: list[str] = []
    for each in bridges:
        # from the host's loopback: the container could not answer to 127.0.0.1
        rules.append(f'oifname "{each.bridge}" {family.word} saddr {family.loopback} masquerade')
        # from a container of the same bridge (or itself) through the host: the answer has to come back to us
        rules.append(f'oifname "{each.bridge}" {family.word} saddr {each.subnet} ct status dnat masquerade')
        if each.masquerade:
            rules.append(f'oifname != "{each.bridge}" {family.word} saddr {each.subnet} masquerade')
    return rules


def _into(bridge: BridgeRules) -> list[str]:
    rules = ["ct state established,related accept", "ct status dnat accept"]
    if bridge.icc:
        rules.append(f'iifname "{bridge.bridge}" accept')
    return [*rules, "drop"]


def _forward(bridges: Iterable[BridgeRules], *, guard: bool) -> list[str]:
    rules = [f'oifname "{each.bridge}" goto into_{each.bridge}' for each in bridges]
    if guard:
        rules.append('meta iifkind != "bridge" meta oifkind != "bridge" ct state new drop')
    return rules
