"""Which subnet a network gets: the first of the pools that the machine does not use already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from corten.errors import InvalidParameter, Unavailable


@dataclass(frozen=True, slots=True)
class SubnetPool:
    """Subnets of length `size` are cut from `base` (daemon.json, "default-address-pools")."""

    base: IPv4Network
    size: int

    def __post_init__(self) -> None:
        if not self.base.prefixlen <= self.size <= 32:
            raise InvalidParameter(f"invalid default address pool: size {self.size} does not fit {self.base}")

    def subnets(self) -> Iterator[IPv4Network]:
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


def choose_subnet(pools: Iterable[SubnetPool], taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first subnet that overlaps none of `taken` (routes, name servers, other networks).

    Raises Unavailable when the pools are used up.
    """
    occupied = list(taken)
    for pool in pools:
        for subnet in pool.subnets():
            if not any(subnet.overlaps(other) for other in occupied):
                return subnet
    raise Unavailable("all predefined address pools have been fully subnetted")
