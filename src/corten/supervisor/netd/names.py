"""Names of containers, by network, as a container sees them."""

from __future__ import annotations

from corten.wire import dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.supervisor.netd.egress import Egress

SECONDS_TO_LIVE = 600  # Docker's


class Host:
    """An endpoint: packed addresses, b"" if it has none, and the name that a reverse look-up gives."""

    __slots__ = ("ipv4", "ipv6", "name")

    def __init__(self, name: str, ipv4: bytes, ipv6: bytes) -> None:
        self.name = name
        self.ipv4 = ipv4
        self.ipv6 = ipv6


class Network:
    """The endpoints of one network."""

    __slots__ = ("by_address", "by_name", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.by_name: dict[str, dict[str, Host]] = {}  # name -> endpoint id -> host
        self.by_address: dict[bytes, Host] = {}


class Names:
    """All networks. `version` grows with every change, so that answers can be remembered."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self._places: dict[str, tuple[str, tuple[str, ...]]] = {}  # endpoint id -> network id, names
        self.version = 0

    def join(
        self,
        network_id: str,
        network_name: str,
        endpoint_id: str,
        names: Iterable[str],
        ipv4: bytes,
        ipv6: bytes,
    ) -> None:
        """An endpoint comes, or changes. The first of its names is its own."""
        self.leave(endpoint_id)
        network = self.networks.get(network_id)
        if network is None:
            network = self.networks[network_id] = Network(network_name.lower())
        known = tuple(dict.fromkeys(name.lower() for name in names))
        host = Host(known[0] if known else "", ipv4, ipv6)
        for name in known:
            network.by_name.setdefault(name, {})[endpoint_id] = host
        for address in (ipv4, ipv6):
            if address:
                network.by_address[address] = host
        self._places[endpoint_id] = (network_id, known)
        self.version += 1

    def leave(self, endpoint_id: str) -> None:
        """An endpoint goes; harmless if it has gone."""
        network_id, names = self._places.pop(endpoint_id, ("", ()))
        if not network_id:
            return
        network = self.networks[network_id]
        for name in names:
            hosts = network.by_name[name]
            host = hosts.pop(endpoint_id)
            if not hosts:
                del network.by_name[name]
            for address in (host.ipv4, host.ipv6):
                if network.by_address.get(address) is host:
                    del network.by_address[address]
        if not network.by_name:
            del self.networks[network_id]
        self.version += 1


class View:
    """What one container may ask. network_ids: its networks, in the order in which names are looked up.

    servers: name servers for everything else, in the container's own namespace if `own`; () if its networks
    lead nowhere. dotted: names without a dot are not asked of them (the container has set ndots). links:
    names that only this container uses, and what they stand for. egress: which names others may be asked
    for; None: all.
    """

    __slots__ = ("dotted", "egress", "links", "network_ids", "own", "servers")

    def __init__(
        self,
        network_ids: list[str],
        servers: list[str],
        *,
        own: bool = False,
        dotted: bool = False,
        links: dict[str, str] | None = None,
        egress: Egress | None = None,
    ) -> None:
        self.egress = egress
        self.links = {alias.lower(): name.lower() for alias, name in (links or {}).items()}
        self.network_ids = network_ids
        self.servers = servers
        self.own = own
        self.dotted = dotted

    def hosts(self, names: Names, wanted: str) -> list[Host]:
        """The endpoints called `name` or `name.network`; [] if there are none."""
        wanted = self.links.get(wanted, wanted)
        networks = [names.networks[each] for each in self.network_ids if each in names.networks]
        for network in networks:
            found = network.by_name.get(wanted)
            if found:
                return list(found.values())
        for network in networks:
            name = wanted.removesuffix(f".{network.name}")
            if name != wanted and name in network.by_name:
                return list(network.by_name[name].values())
        return []

    def owner(self, names: Names, address: bytes) -> str:
        """The name of who has an address, as `name.network`; "" if nobody has it."""
        for each in self.network_ids:
            network = names.networks.get(each)
            host = network.by_address.get(address) if network else None
            if network and host is not None and host.name:
                return f"{host.name}.{network.name}"
        return ""


def records(hosts: list[Host], kind: int, turn: int) -> list[tuple[int, int, bytes]]:
    """The addresses of hosts as records, beginning with another one at every turn."""
    addresses = [host.ipv4 if kind == dns.A else host.ipv6 for host in hosts]
    addresses = [address for address in addresses if address]
    if len(addresses) > 1:
        start = turn % len(addresses)
        addresses = addresses[start:] + addresses[:start]
    return [(kind, SECONDS_TO_LIVE, address) for address in addresses]
