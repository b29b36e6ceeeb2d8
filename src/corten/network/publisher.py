"""Published ports of containers: held on the host, open in the firewall."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from corten.errors import InvalidParameter, NotSupported
from corten.network.firewall.keeper import FirewallKeeper
from corten.network.firewall.ruleset import Published
from corten.network.ports import HeldPort, PortAllocator, PortUnavailable
from corten.network.values import (
    ANY_ADDRESS,
    ANY_ADDRESS6,
    NAT,
    SOCKET,
    Endpoint,
    Network,
    PortBinding,
    PortRequest,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a container's ports of one IP version lead to.

    default: the host's address for requests that name none. routed: the network's addresses are reachable
    themselves, so that nothing of the host is taken. mode: of requests that name none.
    """

    address: str
    default: str
    routed: bool = False
    mode: str = NAT


@dataclass(frozen=True, slots=True)
class Relayed:
    """A port for the relay: its name, its socket `fd` (not the caller's), and where it leads to."""

    name: str
    address: str
    number: int
    fd: int


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
            for wanted in requests:
                chosen = _targets_of(wanted, targets)
                request = replace(wanted, mode=wanted.mode or (chosen[0].mode if chosen else NAT))
                _check_mode(request)
                if request.mode == NAT:
                    self._keeper.require()
                addresses, first = [], ""
                for target in chosen:
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
            if not is_routed(endpoint, port) and port.mode == NAT:
                held = self._held_again(endpoint, port)
                self._held.setdefault(endpoint.container_id, []).extend(held)

    def _held_again(self, endpoint: Endpoint, port: PortBinding) -> list[HeldPort]:
        try:
            return self._allocator.hold(request_of(port), [port.host_address], endpoint.ipv4)
        except PortUnavailable as error:
            log.warning(
                "published port is also used by another program",
                extra={"container": endpoint.container_id, "reason": str(error)},
            )
            return []

    def unheld(self, endpoint: Endpoint) -> list[PortBinding]:
        """The endpoint's ports of the mode "socket" that we do not hold (yet: we are new)."""
        held = {each.binding for each in self._held.get(endpoint.container_id, ())}
        return [port for port in endpoint.relayed_ports if port not in held]

    def hold_again(self, endpoint: Endpoint, port: PortBinding, fd: int) -> None:
        """Hold a port of the mode "socket" again; `fd`: the relay's socket for it, or -1."""
        held = [self._allocator.adopt(port, fd)] if fd >= 0 else self._held_again(endpoint, port)
        self._held.setdefault(endpoint.container_id, []).extend(held)

    def relayed(self, endpoint: Endpoint) -> list[Relayed]:
        """What of the endpoint's ports is for the relay."""
        held = {each.binding: each for each in self._held.get(endpoint.container_id, ())}
        return [
            Relayed(port.name, _destination(endpoint, port), port.container_port, held[port].fileno())
            for port in endpoint.relayed_ports
            if port in held
        ]

    def open(self, endpoint: Endpoint) -> None:
        """Let packets through to the endpoint. Raises OSError."""
        if ports := published(endpoint):
            self._keeper.publish(ports)

    def shut(self, endpoint: Endpoint) -> None:
        """Stop packets; the ports stay the container's. Raises OSError."""
        if ports := published(endpoint):
            self._keeper.withdraw(ports)

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


def target_of(endpoint: Endpoint, network: Network, version: int, mode: str) -> Target:
    """Where ports lead to that are published for the endpoint; `mode`: where the network has none."""
    mode = network.publish_mode or mode
    if version == 4:
        return Target(endpoint.ipv4, network.host_address, network.mode_of(4) == "routed", mode)
    default = ANY_ADDRESS6
    if network.host_address not in (ANY_ADDRESS, ANY_ADDRESS6):
        default = ""  # ports are for one IPv4 address: on IPv6 there is none to take for it
    return Target(endpoint.ipv6, default, network.mode_of(6) == "routed", mode)


def published(endpoint: Endpoint) -> list[Published]:
    """The endpoint's ports as the firewall wants them."""
    found = []
    for port in endpoint.ports:
        if port.mode == SOCKET:
            continue
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
        mode=port.mode,
    )


def is_routed(endpoint: Endpoint, port: PortBinding) -> bool:
    """Whether the port is open at the container's own address, and not one of the host's."""
    return port.host_address in (endpoint.ipv4, endpoint.ipv6)


def _targets_of(request: PortRequest, targets: Mapping[int, Target]) -> Sequence[Target]:
    if not request.host_address:
        return [each for each in targets.values() if each.default or each.routed]
    version = 6 if ":" in request.host_address else 4
    if version in targets:
        return [targets[version]]
    other = next(iter(targets.values()))
    if (request.mode or other.mode) == SOCKET:
        return [other]  # the relay passes on from one IP version to the other
    raise InvalidParameter(
        f"cannot publish a port on {request.host_address}: the container has no IPv{version} address"
    )


def _check_mode(request: PortRequest) -> None:
    if request.mode == SOCKET and request.protocol not in ("tcp", "udp"):
        raise NotSupported(f"{request.protocol} ports cannot be published in the mode {SOCKET}")


def _destination(endpoint: Endpoint, port: PortBinding) -> str:
    """The address that the relay connects to, of the same IP version if there is one."""
    six = ":" in port.host_address
    return (endpoint.ipv6 or endpoint.ipv4) if six else (endpoint.ipv4 or endpoint.ipv6)


def _routed(request: PortRequest, address: str) -> PortBinding:
    return PortBinding(
        protocol=request.protocol,
        container_port=request.container_port,
        host_address=address,
        host_port=request.container_port,
    )
