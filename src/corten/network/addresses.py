"""The address pools of all networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corten.errors import InvalidParameter, Unavailable
from corten.network.ipam import AddressPool, mac_of
from corten.network.values import Endpoint, Network, Place


@dataclass(frozen=True, slots=True)
class Addresses:
    """What an endpoint has been given; "" where the network has none."""

    ipv4: str
    ipv6: str
    mac: str


class AddressBook:
    """Gives addresses and takes them back."""

    def __init__(self, problems: Sequence[str] = ()) -> None:
        """problems: why some networks are not available."""
        self._problems = problems
        self._pools: dict[str, dict[int, AddressPool]] = {}  # by network id and IP version

    def open(self, network: Network) -> None:
        """Have pools for the network's subnets, nothing taken yet."""
        pools = {}
        for subnet in network.subnets:
            own = {subnet.gateway, network.default_gateways.get(str(subnet.version), "")}
            reserved = (own | set(subnet.auxiliary.values())) - {""}
            pools[subnet.version] = AddressPool(subnet.subnet, ip_range=subnet.ip_range, reserved=reserved)
        self._pools[network.id] = pools

    def close(self, network_id: str) -> None:
        """The network is gone."""
        self._pools.pop(network_id, None)

    def adopt(self, endpoint: Endpoint) -> None:
        """What a living container has."""
        pools = self._pools.get(endpoint.network_id, {})
        for version, text in ((4, endpoint.ipv4), (6, endpoint.ipv6)):
            if text and version in pools:
                pools[version].adopt(text)

    def take(self, network: Network, place: Place) -> Addresses:
        """Addresses for a container: those it asks for, or the next ones. All or none.

        Raises Unavailable, InvalidParameter, Forbidden.
        """
        pools = self._pools.get(network.id)
        if pools is None:
            raise Unavailable("; ".join(self._problems) or f"network {network.name} is switched off")
        mac = _hardware_address(place.mac) if place.mac else ""
        found: dict[int, str] = {}
        try:
            for version, wanted in ((4, place.ipv4), (6, place.ipv6)):
                pool = pools.get(version)
                if pool is not None:
                    found[version] = pool.take_this(wanted) if wanted else pool.take()
                elif wanted:
                    raise InvalidParameter(
                        f"no configured subnet or ip-range contain the IP address {wanted}"
                    )
        except BaseException:
            for version, text in found.items():
                pools[version].release(text)
            raise
        ipv4, ipv6 = found.get(4, ""), found.get(6, "")
        return Addresses(ipv4, ipv6, mac or mac_of(ipv4 or ipv6))

    def give_back(self, endpoint: Endpoint) -> None:
        """Free an endpoint's addresses."""
        pools = self._pools.get(endpoint.network_id, {})
        for version, text in ((4, endpoint.ipv4), (6, endpoint.ipv6)):
            if text and version in pools:
                pools[version].release(text)


def _hardware_address(text: str) -> str:
    """A MAC in the form 02:42:ac:11:00:02. Raises InvalidParameter."""
    try:
        packed = bytes.fromhex(text.replace("-", ":").replace(":", ""))
    except ValueError:
        packed = b""
    if len(packed) != 6 or packed[0] & 1:
        raise InvalidParameter(f"invalid MAC address: {text}")
    return packed.hex(":")
