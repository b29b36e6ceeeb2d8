"""Which address a container gets: next after the last one given, as Docker does it.

Reusing an address late keeps neighbours' caches and connections of the dead from hitting the living.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from corten.errors import Forbidden, InvalidParameter, Unavailable
from corten.network.values import IPNetwork


class AddressPool:
    """The addresses of one subnet. Taking and releasing costs O(1) unless the pool is nearly full."""

    def __init__(
        self, subnet: IPNetwork, *, ip_range: IPNetwork | None = None, reserved: Iterable[str] = ()
    ) -> None:
        """`ip_range`: the part from which addresses are chosen; `reserved`: never given (the gateway)."""
        self.subnet = subnet
        self.prefix_length = subnet.prefixlen
        self._address = IPv4Address if subnet.version == 4 else IPv6Address
        self._family, self._size = (AF_INET, 4) if subnet.version == 4 else (AF_INET6, 16)
        chosen = ip_range or subnet
        self._first = int(chosen.network_address)
        self._last = int(chosen.broadcast_address)
        self._last_given = self._first - 1
        self._reserved = {int(ip_address(text)) for text in reserved}
        if subnet.prefixlen < subnet.max_prefixlen - 1:  # RFC 3021, 6164: two addresses are two hosts
            self._reserved.add(int(subnet.network_address))  # IPv6: the routers' anycast address
            if subnet.version == 4:
                self._reserved.add(int(subnet.broadcast_address))
        in_range = sum(self._first <= number <= self._last for number in self._reserved)
        self._capacity = self._last - self._first + 1 - in_range
        self._used: set[int] = set()
        self._used_in_range = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no address to be chosen any more."""
        return self._used_in_range >= self._capacity

    def take(self) -> str:
        """The next free address after the last one given. Raises Unavailable when there is none."""
        if self.is_full:
            raise Unavailable(
                f"no available IPv{self.subnet.version} addresses on this network's address pools"
            )
        number = self._last_given
        while True:
            number = self._first if number >= self._last else number + 1
            if number not in self._used and number not in self._reserved:
                break
        self._last_given = number
        self._mark(number)
        return inet_ntop(self._family, number.to_bytes(self._size, "big"))

    def take_this(self, address: str) -> str:
        """A requested address, in canonical spelling. Raises InvalidParameter, Forbidden."""
        try:
            wanted = self._address(address)
        except ValueError as error:
            raise InvalidParameter(f"invalid IPv{self.subnet.version} address: {address}") from error
        number = int(wanted)
        if wanted not in self.subnet:
            raise InvalidParameter(f"no configured subnet or ip-range contain the IP address {address}")
        if number in self._used or number in self._reserved:
            raise Forbidden("Address already in use")
        self._mark(number)
        return str(wanted)

    def adopt(self, address: str) -> None:
        """Mark an address that a living container has; the next one given comes after it."""
        number = int(self._address(address))
        if number not in self._used:
            self._mark(number)
        if self._first <= number <= self._last:
            self._last_given = number

    def release(self, address: str) -> None:
        """Give an address back; releasing a free one is harmless."""
        number = int.from_bytes(inet_pton(self._family, address), "big")
        if number in self._used:
            self._used.remove(number)
            self._used_in_range -= self._counts(number)

    def _mark(self, number: int) -> None:
        self._used.add(number)
        self._used_in_range += self._counts(number)

    def _counts(self, number: int) -> bool:
        return self._first <= number <= self._last and number not in self._reserved


def mac_of(address: str) -> str:
    """The MAC that Docker derives from an IPv4 address: 02:42 and the address.

    With the same MAC for the same address, neighbours' ARP caches stay right when it is reused.
    From an IPv6 address: 02:42 and its last four bytes.
    """
    return "02:42:" + inet_pton(AF_INET6 if ":" in address else AF_INET, address)[-4:].hex(":")
