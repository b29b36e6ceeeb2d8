"""Which subnet a network gets: the first of the pools that the machine does not use already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from corten.errors import InvalidParameter, Unavailable
from corten.network.values import IPNetwork

_MOST_TRIED = 4096  # subnets of a pool that are looked at: an IPv6 pool has 65536 and more


@dataclass(frozen=True, slots=True)
class SubnetPool:
    """Subnets of length `size` are cut from `base` (daemon.json, "default-address-pools")."""

    base: IPNetwork
    size: int

    def __post_init__(self) -> None:
        if not self.base.prefixlen <= self.size <= self.base.max_prefixlen:
            raise InvalidParameter(f"invalid default address pool: size {self.size} does not fit {self.base}")

    def subnets(self) -> Iterator[IPNetwork]:
        """The pool's subnets in order."""
        return self.base.subnets(new_prefix=self.size)


# Docker's (libnetwork ipamutils), see https://docs.docker.com/engine/network/#subnet-allocation
DEFAULT_POOLS = (
    SubnetPool(IPv4Network("172.17.0.0/16"), 16),
    SubnetPool(IPv4Network("172.18.0.0/16"), 16),
    SubnetPool(IPv4Network("172.19.0.0/16"), 16),
    SubnetPool(IPv4Network("172.20.0.0/14"), 16),
    SubnetPool(IPv4Network("172.24.0.0/14"), 16),
    SubnetPool(IPv4Network("172.28.0.0/14"), 16),
    SubnetPool(IPv4Network("192.168.0.0/16"), 20),
)


def unique_local_pool(seed: str) -> SubnetPool:
    """The engine's own /48 of fd00::/8 (RFC 4193), cut into /64; the same for the same seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:5], "big")
    return SubnetPool(IPv6Network(((0xFD << 120) | (number << 80), 48)), 64)


def choose_subnet(pools: Iterable[SubnetPool], taken: Iterable[IPNetwork], version: int = 4) -> IPNetwork:
    """The first subnet of an IP version that overlaps none of `taken` (routes, name servers, networks).

    Raises Unavailable when the pools are used up.
    """
    occupied = [each for each in taken if each.version == version]
    for pool in pools:
        if pool.base.version != version:
            continue
        for tried, subnet in enumerate(pool.subnets()):
            if not any(_overlap(subnet, other) for other in occupied):
                return subnet
            if tried >= _MOST_TRIED:
                break
    raise Unavailable("all predefined address pools have been fully subnetted")


def overlapping(subnet: IPNetwork, others: Iterable[IPNetwork]) -> bool:
    """Whether the subnet shares an address with one of the others; IP versions may be mixed."""
    return any(_overlap(subnet, other) for other in others)


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)
