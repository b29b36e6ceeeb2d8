"""The address pools of all networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

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
        self._pools: dict[str, dict[int, list[AddressPool]]] = {}  # by network id and IP version

    def open(self, network: Network) -> None:
        """Have pools for the network's subnets, nothing taken yet."""
        pools: dict[int, list[AddressPool]] = {}
        for subnet in network.subnets if not network.ipam_driver else ():
            own = {subnet.gateway, network.default_gateways.get(str(subnet.version), "")}
            reserved = (own | set(subnet.auxiliary.values())) - {""}
            pool = AddressPool(subnet.subnet, ip_range=subnet.ip_range, reserved=reserved)
            pools.setdefault(subnet.version, []).append(pool)
        self._pools[network.id] = pools

    def close(self, network_id: str) -> None:
        """The network is gone."""
        self._pools.pop(network_id, None)

    def adopt(self, endpoint: Endpoint) -> None:
        """What a living container has."""
        for pool, text in self._held(endpoint.network_id, endpoint.ipv4, endpoint.ipv6):
            pool.adopt(text)

    def take(self, network: Network, place: Place) -> Addresses:
        """Addresses for a container: those it asks for, or the next ones. All or none.

        Raises Unavailable, InvalidParameter, Forbidden.
        """
        pools = self._pools.get(network.id)
        if pools is None:
            raise Unavailable("; ".join(self._problems) or f"network {network.name} is switched off")
        mac = hardware_address(place.mac) if place.mac else ""
        if place.plugged is not None:  # taken already
            return Addresses(_bare(place.plugged.ipv4), _bare(place.plugged.ipv6), place.plugged.mac)
        four, ipv4 = _take(pools.get(4, ()), place.ipv4)
        try:
            _, ipv6 = _take(pools.get(6, ()), place.ipv6)
        except BaseException:
            if four is not None:
                four.release(ipv4)
            raise
        return Addresses(ipv4, ipv6, mac or mac_of(ipv4 or ipv6))

    def give_back(self, endpoint: Endpoint) -> None:
        """Free an endpoint's addresses; freeing them twice is harmless."""
        self.release(endpoint.network_id, endpoint.ipv4, endpoint.ipv6)

    def release(self, network_id: str, ipv4: str, ipv6: str) -> None:
        """Free addresses of a network; freeing them twice is harmless."""
        for pool, text in self._held(network_id, ipv4, ipv6):
            pool.release(text)

    def _held(self, network_id: str, ipv4: str, ipv6: str) -> Iterator[tuple[AddressPool, str]]:
        pools = self._pools.get(network_id, {})
        for version, text in ((4, ipv4), (6, ipv6)):
            if text and version in pools:
                yield _holder(pools[version], text) or pools[version][0], text


def _bare(address: str) -> str:
    return address.partition("/")[0]


def _take(pools: Sequence[AddressPool], wanted: str) -> tuple[AddressPool | None, str]:
    """An address of one IP version and its pool: the one wanted, else of the first pool that has one."""
    if wanted:
        holder = _holder(pools, wanted)
        if holder is None:
            raise InvalidParameter(f"no configured subnet or ip-range contain the IP address {wanted}")
        return holder, holder.take_this(wanted)
    for pool in pools:
        if not pool.is_full or pool is pools[-1]:
            return pool, pool.take()
    return None, ""


def _holder(pools: Sequence[AddressPool], address: str) -> AddressPool | None:
    """The pool whose subnet an address lies in."""
    if len(pools) == 1:  # nearly always; it checks the address itself
        return pools[0]
    parsed = ip_address(address)
    return next((pool for pool in pools if parsed in pool.subnet), None)


def hardware_address(text: str) -> str:
    """A MAC in the form 02:42:ac:11:00:02. Raises InvalidParameter."""
    try:
        packed = bytes.fromhex(text.replace("-", ":").replace(":", ""))
    except ValueError:
        packed = b""
    if len(packed) != 6 or packed[0] & 1:
        raise InvalidParameter(f"invalid MAC address: {text}")
    return packed.hex(":")
