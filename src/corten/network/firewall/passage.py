"""Other firewalls' chains that drop forwarded packets by policy (ufw's, `iptables -P FORWARD DROP`).

An "accept" of ours does not overrule that, so our bridges get rules in such a chain, behind all others
(but those of further engines, which want the same):
what its owner forbids stays forbidden, what he says nothing of passes, and is judged by our own table::

    chain FORWARD { policy drop; <the owner's rules>; jump <name> }
    chain <name>  { iifname <bridge> accept; oifname <bridge> accept; ... }

They are as iptables-nft would write them, so its commands still understand the table.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import takewhile

from corten.linux.netlink.chains import HOOK_FORWARD, POLICY_DROP, BaseChain, base_chains
from corten.linux.netlink.nfnetlink import NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
from corten.linux.netlink.nftables import Nftables
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket

log = logging.getLogger(__name__)

_WORDS = {NFPROTO_IPV4: "ip", NFPROTO_IPV6: "ip6", NFPROTO_INET: "inet"}
_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,63}")  # words of nft's language
_ENGINES = re.compile(r".* jump CORTEN(_[0-9A-F]{6})?_FORWARD")  # by `corten.daemon.instance.kernel_names`


class Passage:
    """Of one engine through everybody's chains. Raises OSError."""

    def __init__(self, table: str) -> None:
        """table: of ours."""
        self._name = f"{table.upper()}_FORWARD"
        self._table = table
        self._open: dict[tuple[str, str, str], tuple[str, ...]] = {}  # by family, table, chain: the bridges

    def update(self, bridges: Iterable[str]) -> list[str]:
        """Let exactly these through wherever it is needed; returns the chains that cannot be changed."""
        wanted = tuple(sorted(set(bridges)))
        rivals = [each for each in _dropping() if each.table != self._table]
        closed = []
        for rival in rivals:
            place = _place(rival)
            try:
                if not _SAFE.fullmatch(rival.table) or not _SAFE.fullmatch(rival.name):
                    raise OSError(22, "its name is no word of nft's")
                self._let_through(place, wanted)
            except OSError as error:  # a table may belong to a process alone
                log.warning("no passage", extra={"chain": rival.name, "reason": str(error)})
                closed.append(f"{rival.table} {rival.name}")
        return closed

    def _let_through(self, place: tuple[str, str, str], bridges: tuple[str, ...]) -> None:
        family, table, chain = place
        with Nftables(handles=True) as nftables:
            rules = _rules(nftables, place)
            jumps = [handle for rule, handle in rules if rule.endswith(f"jump {self._name}")]
            behind = [handle for _, handle in takewhile(_is_an_engines, reversed(rules))]
            last = len(jumps) == 1 and jumps[0] in (*behind, rules[-1][1])
            if last and self._open.get(place) == bridges:
                return
            commands = [
                f"add chain {family} {table} {self._name}",
                f"flush chain {family} {table} {self._name}",
            ]
            for bridge in bridges:
                for word in ("iifname", "oifname"):
                    commands.append(
                        f'add rule {family} {table} {self._name} {word} "{bridge}" counter accept'
                    )
            if not last:
                commands += [f"delete rule {family} {table} {chain} handle {each}" for each in jumps]
                commands.append(f"add rule {family} {table} {chain} counter jump {self._name}")
            nftables.apply("\n".join(commands) + "\n")
        self._open[place] = bridges

    def remove(self) -> None:
        """Close it, for good."""
        for place in self._open:
            family, table, chain = place
            with Nftables(handles=True) as nftables, suppress(FileNotFoundError):
                commands = [
                    f"delete rule {family} {table} {chain} handle {handle}"
                    for rule, handle in _rules(nftables, place)
                    if rule.endswith(f"jump {self._name}")
                ]
                commands += [f"{word} chain {family} {table} {self._name}" for word in ("flush", "delete")]
                nftables.apply("\n".join(commands) + "\n")
        self._open.clear()


def _dropping() -> list[BaseChain]:
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        return [
            each
            for each in base_chains(sock)
            if each.hook == HOOK_FORWARD and each.policy == POLICY_DROP and each.family in _WORDS
        ]


def _rules(nftables: Nftables, place: tuple[str, str, str]) -> list[tuple[str, str]]:
    """A chain's rules and their handles. Raises OSError."""
    lines = (
        line.strip().rpartition(" # handle ")
        for line in nftables.apply(f"list chain {' '.join(place)}").split("\n")
    )
    return [(rule, handle) for rule, _, handle in lines if rule and not rule.endswith("{")]


def _is_an_engines(rule: tuple[str, str]) -> bool:
    """Whether it is the jump of an engine, which would go to the end again if we did."""
    return _ENGINES.fullmatch(rule[0]) is not None


def _place(chain: BaseChain) -> tuple[str, str, str]:
    return _WORDS[chain.family], chain.table, chain.name
