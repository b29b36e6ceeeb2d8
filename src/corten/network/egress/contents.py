"""Networks and endpoints → what of them is confined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from corten.network.egress.policy import parse
from corten.network.egress.ruleset import KEY_LENGTH, Confined, Guarded, name_set, services_of_names
from corten.network.values import Endpoint, Network


def of_network(network: Network) -> Confined | None:
    """What a network's policy comes to; None if it has none."""
    if not network.egress:
        return None
    return Confined(
        key=f"n{network.id[:KEY_LENGTH]}", policy=parse(network.egress), bridges=(network.bridge,)
    )


def of_container(endpoints: Sequence[Endpoint], networks: Mapping[str, Network]) -> Confined | None:
    """What the policy of a container with these endpoints comes to; None if it has none."""
    if not endpoints or not endpoints[0].egress:
        return None
    first = endpoints[0]
    guarded = [
        Guarded(port=each.host_ifname, mac=each.mac, ipv4=each.ipv4, ipv6=each.ipv6)
        for each in endpoints
        if each.addresses
    ]
    if not guarded:
        return None
    return Confined(
        key=f"c{first.container_id[:KEY_LENGTH]}",
        policy=parse(first.egress),
        bridges=tuple(networks[each.network_id].bridge for each in endpoints),
        guarded=tuple(guarded),
    )


Names = list[tuple[str, str]]
"""(pattern, sets that the addresses of such a name belong to) of one policy."""


def names(
    endpoints: Sequence[Endpoint], leading: Iterable[Endpoint], networks: Mapping[str, Network]
) -> list[Names]:
    """Which names a container may look up: what each of the policies says that its packets have to pass."""
    confined = [of_container(endpoints, networks)]
    confined += [of_network(networks[each]) for each in dict.fromkeys(each.network_id for each in leading)]
    return [_names(each) for each in confined if each is not None]


def _names(confined: Confined) -> Names:
    numbers = {service: number for number, service in enumerate(services_of_names(confined.policy))}
    return [
        (each.name, name_set(confined.key, numbers[each.service]))
        for each in confined.policy.allowed
        if each.name
    ]


def everything(endpoints: Iterable[Endpoint], networks: Mapping[str, Network]) -> list[Confined]:
    """All that is confined."""
    by_container: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        if endpoint.egress:
            by_container.setdefault(endpoint.container_id, []).append(endpoint)
    found = [of_network(each) for each in networks.values()]
    found += [of_container(each, networks) for each in by_container.values()]
    return [each for each in found if each is not None]
