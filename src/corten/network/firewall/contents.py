"""Networks → what the firewall has to know of them."""

from __future__ import annotations

from corten.network.firewall.ruleset import BridgeRules, TunnelRules
from corten.network.values import Network


def bridge_rules(network: Network) -> dict[int, BridgeRules]:
    """A network's rules by IP version; {} for those without a bridge."""
    if not network.is_bridged:
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
            tunnel=_tunnel(network) if version == 4 else None,
        )
        for version, some in subnets.items()
    }


def _tunnel(network: Network) -> TunnelRules | None:
    overlay = network.overlay
    return None if overlay is None else TunnelRules(vni=overlay.vni, port=overlay.port, peers=overlay.peers)
