"""Published ports of containers: held on the host, open in the firewall."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from corten.errors import InvalidParameter
from corten.network.firewall.keeper import FirewallKeeper
from corten.network.firewall.ruleset import Published
from corten.network.ports import HeldPort, PortAllocator, PortUnavailable
from corten.network.values import ANY_ADDRESS, ANY_ADDRESS6, Endpoint, Network, PortBinding, PortRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a container's ports of one IP version lead to.

    default: the host's address for requests that name none. routed: the network's addresses are reachable
    themselves, so that nothing of the host is taken.
    """

    address: str
    default: str
    routed: bool = False


class Publisher:
    """Which container holds which ports."""

    def __init__(self, allocator: PortAllocator, keeper: FirewallKeeper) -> None:
        self._allocator = allocator
        self._keeper = keeper
        self._held: dict[str, list[HeldPort]] = {}  # by container id

    def hold(
        self, container_id: str, targets: Mapping[int, Target], requests: Iterable[PortRequest]
    ) -> tuple[PortBinding, ...]:
        """Choose and hold host ports: all, or none. `targets` by IP version.

        Raises PortUnavailable, NotSupported, Unavailable, InvalidParameter.
        """
        held: list[HeldPort] = []
        routed: list[PortBinding] = []
        try:
            for request in requests:
                self._keeper.require()
                addresses, first = [], ""
                for target in _targets_of(request, targets):
                    first = first or target.address
                    if target.routed:
                        routed.append(_routed(request, target.address))
                    else:
                        addresses.append(request.host_address or target.default)
                if addresses:
                    held += self._allocator.hold(request, addresses, first)
        except BaseException:
            for each in held:
                self._allocator.release(each)
            raise
        if held:
            self._held.setdefault(container_id, []).extend(held)
        return (*(each.binding for each in held), *routed)

    def rehold(self, endpoint: Endpoint) -> None:
        """Hold the ports of a living container again. If somebody took one meanwhile, NAT still has it."""
        for port in endpoint.ports:
            if is_routed(endpoint, port):
                continue
            try:
                held = self._allocator.hold(request_of(port), [port.host_address], endpoint.ipv4)
            except PortUnavailable as error:
                log.warning(
                    "published port is also used by another program",
                    extra={"container": endpoint.container_id, "reason": str(error)},
                )
                continue
            self._held.setdefault(endpoint.container_id, []).extend(held)

    def open(self, endpoint: Endpoint) -> None:
        """Let packets through to the endpoint. Raises OSError."""
        if endpoint.ports:
            self._keeper.publish(published(endpoint))

    def shut(self, endpoint: Endpoint) -> None:
        """Stop packets; the ports stay the container's. Raises OSError."""
        if endpoint.ports:
            self._keeper.withdraw(published(endpoint))

    def give_back(self, container_id: str, ports: Collection[PortBinding]) -> None:
        """Give some of a container's ports back."""
        held = self._held.pop(container_id, [])
        for each in held:
            if each.binding in ports:
                self._allocator.release(each)
        if kept := [each for each in held if each.binding not in ports]:
            self._held[container_id] = kept

    def drop(self, container_id: str) -> None:
        """Give a container's ports back."""
        for held in self._held.pop(container_id, ()):
            self._allocator.release(held)

    def drop_all(self) -> None:
        """Give every port back; what is open stays open."""
        for container_id in list(self._held):
            self.drop(container_id)


def target_of(endpoint: Endpoint, network: Network, version: int) -> Target:
    """Where ports lead to that are published for the endpoint."""
    if version == 4:
        return Target(endpoint.ipv4, network.host_address, network.mode_of(4) == "routed")
    default = ANY_ADDRESS6
    if network.host_address not in (ANY_ADDRESS, ANY_ADDRESS6):
        default = ""  # ports are for one IPv4 address: on IPv6 there is none to take for it
    return Target(endpoint.ipv6, default, network.mode_of(6) == "routed")


def published(endpoint: Endpoint) -> list[Published]:
    """The endpoint's ports as the firewall wants them."""
    found = []
    for port in endpoint.ports:
        six = ":" in port.host_address
        found.append(
            Published(
                protocol=port.protocol,
                host_address=port.host_address,
                host_port=0 if is_routed(endpoint, port) else port.host_port,
                container_address=endpoint.ipv6 if six else endpoint.ipv4,
                container_port=port.container_port,
            )
        )
    return found


def request_of(port: PortBinding) -> PortRequest:
    """What has to be asked to get this port again."""
    return PortRequest(
        protocol=port.protocol,
        container_port=port.container_port,
        host_address=port.host_address,
        first_host_port=port.host_port,
        last_host_port=port.host_port,
    )


def is_routed(endpoint: Endpoint, port: PortBinding) -> bool:
    """Whether the port is open at the container's own address, and not one of the host's."""
    return port.host_address in (endpoint.ipv4, endpoint.ipv6)


def _targets_of(request: PortRequest, targets: Mapping[int, Target]) -> Sequence[Target]:
    if not request.host_address:
        return [each for each in targets.values() if each.default or each.routed]
    version = 6 if ":" in request.host_address else 4
    if version not in targets:
        raise InvalidParameter(
            f"cannot publish a port on {request.host_address}: the container has no IPv{version} address"
        )
    return [targets[version]]


def _routed(request: PortRequest, address: str) -> PortBinding:
    return PortBinding(
        protocol=request.protocol,
        container_port=request.container_port,
        host_address=address,
        host_port=request.container_port,
    )
