"""Policies as text for nft(8).

::

    container ── bridge prerouting: guard_<key>  own addresses only ──►
    to others   ── forward ─┐
    to the host ── input ───┴─ confined: by source ► egress_<key>     a container's policy
                               networks: by bridge ► egress_<key>     a network's policy
                               neither returns an "accept": whatever else filters, filters

A packet has to pass the policies of its container and of the network that it leaves. What stays on its bridge
is none of their business. Packets of connections that were allowed, or came in, pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corten.network.egress.policy import Destination, Policy, Service

KEY_LENGTH = 12
"""How much of an id is in a key: "c" of a container or "n" of a network, and these digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """An interface of a container with a policy: the veth's end on the host, and what may be sent from it."""

    port: str
    mac: str
    ipv4: str = ""
    ipv6: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confined:
    """A network (`guarded` is empty) or a container with a policy. What stays on a bridge is not judged."""

    key: str
    policy: Policy
    bridges: tuple[str, ...]
    guarded: tuple[Guarded, ...] = ()


def egress_table(table: str) -> str:
    """The name of the table that judges, in the family inet."""
    return f"{table}_egress"


def guard_table(table: str) -> str:
    """The name of the table that guards, in the family bridge."""
    return f"{table}_guard"


def remove(table: str) -> str:
    """Commands that remove the tables, whether they are there or not."""
    names = (f"inet {egress_table(table)}", f"bridge {guard_table(table)}")
    return "".join(f"add table {name}\ndelete table {name}\n" for name in names)


def tables(table: str) -> str:
    """Commands that make the tables without any policy; nothing is changed if they are there."""
    judge = "ip saddr vmap @confined4\n\t\tip6 saddr vmap @confined6\n\t\tiifname vmap @networks\n"
    # Without these no IPv6 packet gets as far as the gateway; they go to neighbours only.
    neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
    return (
        f"add table inet {egress_table(table)}\n"
        f"table inet {egress_table(table)} {{\n"
        "\tmap confined4 {\n\t\ttype ipv4_addr : verdict\n\t}\n"
        "\tmap confined6 {\n\t\ttype ipv6_addr : verdict\n\t}\n"
        "\tmap networks {\n\t\ttype ifname : verdict\n\t}\n"
        f"\tchain forward {{\n\t\ttype filter hook forward priority -5; policy accept;\n\t}}\n"
        f"\tchain input {{\n\t\ttype filter hook input priority -5; policy accept;\n\t}}\n"
        "}\n"
        f"flush chain inet {egress_table(table)} forward\nflush chain inet {egress_table(table)} input\n"
        f"table inet {egress_table(table)} {{\n"
        f"\tchain forward {{\n\t\t{judge}\t}}\n"
        f"\tchain input {{\n\t\t{neighbours}\t\t{judge}\t}}\n"
        "}\n"
        f"add table bridge {guard_table(table)}\n"
        f"table bridge {guard_table(table)} {{\n"
        "\tmap ports {\n\t\ttype ifname : verdict\n\t}\n"
        "\tchain prerouting {\n\t\ttype filter hook prerouting priority -200; policy accept;\n\t}\n"
        "}\n"
        f"flush chain bridge {guard_table(table)} prerouting\n"
        f"add rule bridge {guard_table(table)} prerouting iifname vmap @ports\n"
    )


def confine(table: str, confined: Confined, log_group: int) -> str:
    """Commands that put a policy into force, or change what it is about; addresses of names are kept."""
    return (
        "\n".join([*_judge(f"inet {egress_table(table)}", confined, log_group), *_guard(table, confined)])
        + "\n"
    )


def release(table: str, confined: Confined) -> str:
    """Commands that undo `confine`, of the same value."""
    name, key = f"inet {egress_table(table)}", confined.key
    lines = [f"flush chain {name} egress_{key}", f"delete chain {name} egress_{key}"]
    lines += [f"delete set {name} {each}" for each in _sets(confined)]
    return unguard(table, confined) + "\n".join(lines) + "\n"


def unguard(table: str, confined: Confined) -> str:
    """Commands that let no packets find the policy any more by these interfaces or bridges."""
    name, guards = f"inet {egress_table(table)}", f"bridge {guard_table(table)}"
    lines = [f"delete element {name} {map} {{ {each} }}" for map, each in _elements(confined)]
    for each in confined.guarded:
        lines += [
            f'delete element {guards} ports {{ "{each.port}" : jump guard_{each.port} }}',
            f"flush chain {guards} guard_{each.port}",
            f"delete chain {guards} guard_{each.port}",
        ]
    return "\n".join(lines) + "\n"


def services_of_names(policy: Policy) -> tuple[Service, ...]:
    """The services for which a policy allows names: there is a set of addresses for each."""
    return tuple(dict.fromkeys(each.service for each in policy.allowed if each.name))


def name_set(key: str, number: int) -> str:
    """What the sets of addresses for a service are called, behind "names4_" and "names6_"."""
    return f"{key}_{number}"


def _judge(name: str, confined: Confined, log_group: int) -> Iterator[str]:
    chain = f"egress_{confined.key}"
    yield f"add chain {name} {chain}"
    yield f"flush chain {name} {chain}"
    for each in _sets(confined):
        kind = "ipv4_addr" if each.startswith("names4") else "ipv6_addr"
        yield f"add set {name} {each} {{ type {kind}; flags timeout; size 65535; }}"
    for rule in _rules(confined, log_group):
        yield f"add rule {name} {chain} {rule}"
    for map, element in _elements(confined):
        yield f"add element {name} {map} {{ {element} }}"


def _rules(confined: Confined, log_group: int) -> Iterator[str]:
    for bridge in confined.bridges:
        yield f'iifname "{bridge}" oifname "{bridge}" return'
    yield "ct state established,related return"
    for each in confined.policy.allowed:
        if each.network is not None:
            yield f"{_of_network(each)}{_of_service(each.service)} return"
    for number, service in enumerate(services_of_names(confined.policy)):
        for version, word in ((4, "ip"), (6, "ip6")):
            where = f"{word} daddr @names{version}_{name_set(confined.key, number)}"
            yield f"{where}{_of_service(service)} return"
    yield f'limit rate 20/second burst 20 packets log prefix "{confined.key}" group {log_group}'
    yield "meta l4proto tcp reject with tcp reset"
    yield "reject with icmpx type admin-prohibited"


def _of_network(destination: Destination) -> str:
    network = destination.network
    assert network is not None
    return f"{'ip' if network.version == 4 else 'ip6'} daddr {network}"


def _of_service(service: Service) -> str:
    if not service.protocol:
        return ""
    if not service.first:
        return f" meta l4proto {service.protocol}"
    return f" {service.protocol} dport {service.first}-{service.last}"


def _sets(confined: Confined) -> list[str]:
    count = len(services_of_names(confined.policy))
    return [f"names{version}_{name_set(confined.key, n)}" for n in range(count) for version in (4, 6)]


def _elements(confined: Confined) -> Iterable[tuple[str, str]]:
    """(map, how packets find the policy)."""
    verdict = f"jump egress_{confined.key}"
    if not confined.guarded:
        return [("networks", f'"{bridge}" : {verdict}') for bridge in confined.bridges]
    four = [("confined4", f"{each.ipv4} : {verdict}") for each in confined.guarded if each.ipv4]
    return four + [("confined6", f"{each.ipv6} : {verdict}") for each in confined.guarded if each.ipv6]


def _guard(table: str, confined: Confined) -> Iterator[str]:
    name = f"bridge {guard_table(table)}"
    for each in confined.guarded:
        chain = f"guard_{each.port}"
        yield f"add chain {name} {chain}"
        yield f"flush chain {name} {chain}"
        for rule in _of_guard(each):
            yield f"add rule {name} {chain} {rule}"
        yield f'add element {name} ports {{ "{each.port}" : jump {chain} }}'


def _of_guard(guarded: Guarded) -> Iterator[str]:
    yield f"ether saddr != {guarded.mac} drop"
    if guarded.ipv4:
        yield f"arp saddr ip {guarded.ipv4} return"
        yield f"ip saddr {guarded.ipv4} return"
    if guarded.ipv6:
        yield f"ip6 saddr {guarded.ipv6} return"
        # From other addresses only what no router passes on.
        yield "ip6 saddr { ::, fe80::/10 } icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } return"
    yield "drop"
