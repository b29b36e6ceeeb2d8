"""What was refused: packets, and names that netd did not ask for."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from corten.network.values import PROTOCOLS

_IPV4_BYTES = 20
_IPV6_BYTES = 40
_NUMBERS = {number: name for name, number in PROTOCOLS.items()} | {1: "icmp", 58: "ipv6-icmp"}


@dataclass(frozen=True, slots=True)
class Denial:
    """A packet that a policy refused. key: the policy's. port: 0 where there is none, or in fragments."""

    key: str
    source: str
    destination: str
    protocol: str
    port: int


def denial(key: str, packet: bytes) -> Denial | None:
    """What the beginning of an IP packet tells; None if it is none. IPv6 extension headers are not read."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= _IPV4_BYTES:
        source, destination, number = packet[12:16], packet[16:20], packet[9]
        rest = packet[(packet[0] & 15) * 4 :] if not int.from_bytes(packet[6:8], "big") & 0x1FFF else b""
    elif version == 6 and len(packet) >= _IPV6_BYTES:
        source, destination, number, rest = packet[8:24], packet[24:40], packet[6], packet[40:]
    else:
        return None
    protocol = _NUMBERS.get(number, str(number))
    port = int.from_bytes(rest[2:4], "big") if protocol in PROTOCOLS else 0
    return Denial(
        key, str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)), protocol, port
    )
