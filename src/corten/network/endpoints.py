"""Which container is where: endpoints in the ledger and in memory, with their addresses and ports."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from corten.errors import Forbidden, InvalidParameter, NotSupported
from corten.ids import new_id
from corten.network.addresses import AddressBook
from corten.network.attachments import gateways
from corten.network.config import NetworkConfig
from corten.network.egress.policy import parse
from corten.network.ports import PortUnavailable
from corten.network.predefined import is_predefined
from corten.network.publisher import Publisher, is_routed, target_of
from corten.network.registry import Networks
from corten.network.sandboxes import new_host_ifname
from corten.network.store import NetworkStore
from corten.network.values import (
    BRIDGE,
    HOST,
    NULL,
    SOCKET,
    Endpoint,
    Network,
    Place,
    Plugged,
    PortBinding,
    PortRequest,
)

log = logging.getLogger(__name__)


class Endpoints:
    """The index. Nothing here touches the kernel, but for the sockets that hold ports."""

    def __init__(
        self,
        store: NetworkStore,
        networks: Networks,
        addresses: AddressBook,
        publisher: Publisher,
        config: NetworkConfig,
    ) -> None:
        self._store = store
        self._networks = networks
        self._addresses = addresses
        self._publisher = publisher
        self._prefix, self._mode = config.link_prefix, config.publish_mode
        self._all: dict[str, dict[str, Endpoint]] = {}  # container id -> network id -> endpoint

    def load(
        self, live: Collection[str], link_names: Collection[str], plugged: Mapping[str, Plugged]
    ) -> None:
        """Read the ledger; the endpoints of those that are not live are forgotten there.

        link_names: links of the host. An endpoint whose link is not there was being made or removed when
        an earlier engine died. plugged: what plugins have made, by endpoint.
        """
        self._all.clear()
        for endpoint in self._store.endpoints(self._networks.by_id):
            if endpoint.container_id not in live:
                self._store.remove_endpoints(endpoint.container_id)
            elif endpoint.host_ifname and endpoint.host_ifname not in link_names:
                self._store.remove_endpoint(endpoint.id)
            elif endpoint.id in plugged:
                network = self._networks.by_id[endpoint.network_id]
                self._put(with_plugged(endpoint, network, plugged[endpoint.id]))
            else:
                self._put(endpoint)

    def of(self, container_id: str) -> list[Endpoint]:
        """The container's endpoints, in the order in which it got them."""
        return list(self._all.get(container_id, {}).values())

    def find(self, container_id: str, network_id: str) -> Endpoint | None:
        """The container's endpoint in a network."""
        return self._all.get(container_id, {}).get(network_id)

    def all(self) -> list[Endpoint]:
        """Everybody's."""
        return [each for places in self._all.values() for each in places.values()]

    def inside(self, network_id: str) -> list[Endpoint]:
        """Everybody's in one network."""
        return [places[network_id] for places in self._all.values() if network_id in places]

    def add(
        self,
        container_id: str,
        places: Sequence[Place],
        *,
        name: str,
        ports: Iterable[PortRequest] = (),
        host_ifname: str = "",
    ) -> tuple[Endpoint, ...]:
        """Addresses, ports and rows for all the places, or for none. host_ifname: the first veth, if made.

        Raises NoSuchNetwork, PortUnavailable, InvalidParameter, Unavailable, Forbidden, NotSupported.
        """
        made: list[Endpoint] = []
        ifnames = {each.ifname for each in self.of(container_id)}
        try:
            for place in places:
                made.append(self._make(container_id, place, name, ifnames, "" if made else host_ifname))
            endpoints = self._with_ports(container_id, made, ports)
            self._store.add_endpoints(endpoints)
        except BaseException:
            if not self._all.get(container_id):
                self._publisher.drop(container_id)
            for each in made:
                self._addresses.give_back(each)
            raise
        for endpoint in endpoints:
            self._put(endpoint)
        return endpoints

    def _make(
        self, container_id: str, place: Place, name: str, ifnames: set[str], host_ifname: str
    ) -> Endpoint:
        network = self._networks.get(place.network)
        if self.find(container_id, network.id) is not None:
            raise Forbidden(f"endpoint with name {name} already exists in network {network.name}")
        if network.config_only:
            raise Forbidden("configuration-only networks cannot be used: " + network.name)
        if network.driver in (HOST, NULL):
            return Endpoint(
                id=new_id(),
                network_id=network.id,
                network_name=network.name,
                container_id=container_id,
                name=name,
            )
        if place.egress:
            check_policy(network, place.egress)
        given = self._addresses.take(network, place)
        plugged = place.plugged
        prefix = plugged.ifname_prefix if plugged is not None and plugged.link else network.ifname_prefix
        ifname = place.ifname or _free_name(prefix, ifnames)
        ifnames.add(ifname)
        four, six = network.subnet_with(given.ipv4), network.subnet_with(given.ipv6)
        endpoint = Endpoint(
            id=new_id() if plugged is None else plugged.endpoint_id,
            network_id=network.id,
            network_name=network.name,
            container_id=container_id,
            name=name,
            gw_priority=place.gw_priority,
            dns_names=place.dns_names,
            link_local=place.link_local,
            sysctls=place.sysctls,
            egress=place.egress,
            mac=given.mac,
            ipv4=given.ipv4,
            prefix_length=four.subnet.prefixlen if four else 0,
            gateway=network.gateway_in(four),
            ipv6=given.ipv6,
            prefix_length6=six.subnet.prefixlen if six else 0,
            gateway6=network.gateway_in(six),
            ifname=ifname,
            host_ifname=host_ifname or (new_host_ifname(self._prefix) if network.is_bridged else ""),
        )
        return endpoint if plugged is None else with_plugged(endpoint, network, plugged)

    def _with_ports(
        self, container_id: str, endpoints: Sequence[Endpoint], ports: Iterable[PortRequest]
    ) -> tuple[Endpoint, ...]:
        """With the ports on the endpoints that lead out."""
        bindings = self._held(container_id, endpoints, ports) if ports else ()
        return (
            _distributed(endpoints, self._published_through(endpoints), bindings)
            if bindings
            else tuple(endpoints)
        )

    def _held(
        self, container_id: str, endpoints: Sequence[Endpoint], ports: Iterable[PortRequest]
    ) -> tuple[PortBinding, ...]:
        """Ports for the endpoints that lead out; without such they are ignored, as Docker does."""
        leading = self._published_through(endpoints)
        if not leading:
            return ()
        targets = {
            version: target_of(each, self._networks.by_id[each.network_id], version, self._mode)
            for version, each in leading.items()
        }
        try:
            return self._publisher.hold(container_id, targets, ports)
        except PortUnavailable as error:
            first = next(iter(leading.values()))
            raise PortUnavailable(
                "driver failed programming external connectivity on endpoint"
                f" {first.name} ({first.id}): {error}"
            ) from error

    def _published_through(self, endpoints: Sequence[Endpoint]) -> dict[int, Endpoint]:
        return {
            version: each
            for version, each in gateways(endpoints).items()
            if self._networks.by_id[each.network_id].is_bridged
        }

    def hold_ports(self, container_id: str, ports: Iterable[PortRequest]) -> list[Endpoint]:
        """Hold further ports of a running container, in the ledger, too; returns its endpoints.

        Raises PortUnavailable, InvalidParameter, NotSupported, Unavailable; then nothing is kept.
        """
        before = self.of(container_id)
        bindings = [port for each in before for port in each.ports]
        held = self._held(container_id, before, ports)
        try:
            return self.redistribute(container_id, [*bindings, *held])
        except BaseException:
            self._publisher.give_back(container_id, held)
            raise

    def give_ports_back(self, container_id: str, ports: Collection[PortBinding]) -> None:
        """Some ports are a running container's no more."""
        bindings = [port for each in self.of(container_id) for port in each.ports if port not in ports]
        self.redistribute(container_id, bindings)
        self._publisher.give_back(container_id, ports)

    def redistribute(self, container_id: str, bindings: Sequence[PortBinding]) -> list[Endpoint]:
        """Give a running container's ports to the endpoints that lead out now; returns all endpoints."""
        before = self.of(container_id)
        after = _distributed(before, self._published_through(before), bindings)
        if list(after) != before:
            self._store.move_ports(after)
            for endpoint in after:
                self._put(endpoint)
        return list(after)

    def remove(self, endpoint: Endpoint) -> None:
        """One endpoint goes; the ports stay the container's."""
        self._addresses.give_back(endpoint)
        del self._all[endpoint.container_id][endpoint.network_id]
        self._store.remove_endpoint(endpoint.id)

    def remove_all(self, container_id: str) -> None:
        """The container's endpoints go, and its ports are free."""
        for endpoint in self._all.pop(container_id, {}).values():
            self._addresses.give_back(endpoint)
        self._publisher.drop(container_id)
        self._store.remove_endpoints(container_id)

    def rename(self, container_id: str, name: str) -> list[Endpoint]:
        """The container has a new name, also for those who resolve it."""
        before = self.of(container_id)
        if not before:
            return []
        self._store.rename_container(container_id, name)
        for endpoint in before:
            names = tuple(name if each == endpoint.name else each for each in endpoint.dns_names)
            self._put(replace(endpoint, name=name, dns_names=names))
            self._store.set_dns_names(endpoint.id, names)
        return self.of(container_id)

    def _put(self, endpoint: Endpoint) -> None:
        self._all.setdefault(endpoint.container_id, {})[endpoint.network_id] = endpoint


def check_policy(network: Network, text: str) -> None:
    """Whether a container's policy can be kept on a network. Raises NotSupported, InvalidParameter."""
    if network.driver != BRIDGE:
        raise NotSupported(
            f"egress control is the bridge driver's: network {network.name} ({network.driver}) has no rules"
        )
    names = parse(text).names
    if names and is_predefined(network.name):
        raise InvalidParameter(
            f"egress control by names ({names[0]}) needs a user-defined network: containers on {network.name}"
            " do not ask our resolver"
        )


def with_plugged(endpoint: Endpoint, network: Network, plugged: Plugged) -> Endpoint:
    """An endpoint with what plugins say of it; gateways are a network plugin's or none."""
    four, six = (
        int(text.partition("/")[2] or bits) for text, bits in ((plugged.ipv4, 32), (plugged.ipv6, 128))
    )
    endpoint = replace(endpoint, plugged=plugged, prefix_length=four, prefix_length6=six)
    if not network.is_plugged:
        return endpoint
    return replace(endpoint, gateway=plugged.gateway, gateway6=plugged.gateway6)


def _free_name(prefix: str, taken: Collection[str]) -> str:
    """As Docker: the number after the highest one."""
    numbers = [int(name[len(prefix) :]) for name in taken if _is_numbered(name, prefix)]
    return f"{prefix}{max(numbers, default=-1) + 1}"


def _is_numbered(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name[len(prefix) :].isdecimal()


def _distributed(
    endpoints: Sequence[Endpoint], leading: Mapping[int, Endpoint], bindings: Sequence[PortBinding]
) -> tuple[Endpoint, ...]:
    """The endpoints with the bindings of each IP version at the one that leads."""
    ports: dict[str, list[PortBinding]] = {}
    for binding in bindings:
        target = next((each for each in endpoints if is_routed(each, binding)), None)
        target = target or leading.get(6 if ":" in binding.host_address else 4)
        if target is None and binding.mode == SOCKET:
            target = next(iter(leading.values()), None)
        if target is not None:
            ports.setdefault(target.id, []).append(binding)
    return tuple(
        replace(each, ports=tuple(ports.get(each.id, ()))) if each.ports or each.id in ports else each
        for each in endpoints
    )
