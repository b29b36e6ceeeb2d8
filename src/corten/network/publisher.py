"""Published ports of endpoints: held on the host, open in the firewall."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from corten.network.firewall.keeper import FirewallKeeper
from corten.network.firewall.ruleset import Published
from corten.network.ports import HeldPort, PortAllocator, PortUnavailable
from corten.network.values import Endpoint, PortBinding, PortRequest

log = logging.getLogger(__name__)


class Publisher:
    """Which endpoint holds which ports."""

    def __init__(self, allocator: PortAllocator, keeper: FirewallKeeper) -> None:
        self._allocator = allocator
        self._keeper = keeper
        self._held: dict[str, list[HeldPort]] = {}  # by endpoint id

    def hold(
        self, endpoint_id: str, container_address: str, requests: Iterable[PortRequest], default_address: str
    ) -> tuple[PortBinding, ...]:
        """Choose and hold host ports: all, or none. Raises PortUnavailable, NotSupported, Unavailable."""
        held: list[HeldPort] = []
        try:
            for request in requests:
                self._keeper.require()
                address = request.host_address or default_address
                held.append(self._allocator.hold(request, address, container_address))
        except BaseException:
            for each in held:
                self._allocator.release(each)
            raise
        if held:
            self._held[endpoint_id] = held
        return tuple(each.binding for each in held)

    def rehold(self, endpoint: Endpoint) -> None:
        """Hold the ports of a living container again. If somebody took one meanwhile, NAT still has it."""
        for port in endpoint.ports:
            request = PortRequest(
                protocol=port.protocol,
                container_port=port.container_port,
                first_host_port=port.host_port,
                last_host_port=port.host_port,
            )
            try:
                held = self._allocator.hold(request, port.host_address, endpoint.ipv4)
            except PortUnavailable as error:
                log.warning(
                    "published port is also used by another program",
                    extra={"container": endpoint.container_id, "reason": str(error)},
                )
                continue
            self._held.setdefault(endpoint.id, []).append(held)

    def open(self, endpoint: Endpoint) -> None:
        """Let packets through to the endpoint. Raises OSError."""
        self._keeper.publish(published(endpoint))

    def close(self, endpoint: Endpoint) -> None:
        """Stop packets, then give the ports back. Raises OSError after everything is given back."""
        try:
            self._keeper.withdraw(published(endpoint))
        finally:
            self._drop(endpoint.id)

    def drop_all(self) -> None:
        """Give every port back; what is open stays open."""
        for endpoint_id in list(self._held):
            self._drop(endpoint_id)

    def _drop(self, endpoint_id: str) -> None:
        for held in self._held.pop(endpoint_id, ()):
            self._allocator.release(held)


def published(endpoint: Endpoint) -> list[Published]:
    """The endpoint's ports as the firewall wants them."""
    return [
        Published(
            protocol=port.protocol,
            host_address=port.host_address,
            host_port=port.host_port,
            container_address=endpoint.ipv4,
            container_port=port.container_port,
        )
        for port in endpoint.ports
    ]
