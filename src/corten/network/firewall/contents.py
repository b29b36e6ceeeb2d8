"""Networks → what the firewall has to know of them."""

from __future__ import annotations

from corten.network.firewall.ruleset import BridgeRules
from corten.network.values import BRIDGE, Network


def bridge_rules(network: Network) -> dict[int, BridgeRules]:
    """A network's rules by IP version; {} for those that are no bridges."""
    if network.driver != BRIDGE:
        return {}
    subnets: dict[int, list[str]] = {}
    for each in network.subnets:
        subnets.setdefault(each.version, []).append(str(each.subnet))
    return {
        version: BridgeRules(
            bridge=network.bridge,
            subnets=tuple(some),
            icc=network.icc,
            masquerade=network.masquerade and network.mode_of(version).startswith("nat"),
            internal=network.internal,
            mode=network.mode_of(version),
            source=network.sources.get(str(version), ""),
        )
        for version, some in subnets.items()
    }
