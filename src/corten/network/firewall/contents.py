"""Networks → what the firewall has to know of them."""

from __future__ import annotations

from corten.network.firewall.ruleset import BridgeRules
from corten.network.values import BRIDGE, Network


def bridge_rules(network: Network) -> dict[int, BridgeRules]:
    """A network's rules by IP version; {} for those that are no bridges."""
    if network.driver != BRIDGE:
        return {}
    return {
        each.version: BridgeRules(
            bridge=network.bridge,
            subnet=str(each.subnet),
            icc=network.icc,
            masquerade=network.masquerade and network.mode_of(each.version).startswith("nat"),
            internal=network.internal,
            mode=network.mode_of(each.version),
            source=network.sources.get(str(each.version), ""),
        )
        for each in network.subnets
    }
