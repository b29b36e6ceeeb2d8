"""The nouns: Network, Endpoint, PortRequest, PortBinding.

    Network 1 ──── n Endpoint n ──── 1 sandbox (a container's network namespace)
                        │ 1
                        n PortBinding

An endpoint is a container's place in a network: an interface with a MAC and addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

BRIDGE = "bridge"
HOST = "host"
NULL = "null"  # Docker's name for the driver of the network "none"

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - published on every address, Docker's default

PROTOCOLS: Mapping[str, int] = {"tcp": 6, "udp": 17, "sctp": 132}  # name -> IP protocol number


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One entry of a network's IPAM configuration. Containers get addresses from `ip_range`."""

    subnet: IPv4Network
    gateway: str
    ip_range: IPv4Network | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as the ledger has it. `subnets` is empty for host and null; `mtu` is in bytes."""

    id: str
    name: str
    driver: str
    created_ns: int
    subnets: tuple[Subnet, ...] = ()
    bridge: str = ""  # name of the Linux bridge
    mtu: int = 0
    icc: bool = True  # containers may talk to each other
    masquerade: bool = True
    host_address: str = ANY_ADDRESS  # where ports are published that name no address
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """A port to publish. `host_address` "" is the network's default; host ports 0, 0 are "any free one".

    Of the range first_host_port..last_host_port the first free one is taken.
    """

    protocol: str
    container_port: int
    host_address: str = ""
    first_host_port: int = 0
    last_host_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding:
    """A published port."""

    protocol: str
    container_port: int
    host_address: str
    host_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A container's place in a network. Addresses are "" where the network has none."""

    id: str
    network_id: str
    network_name: str
    container_id: str
    name: str  # the container's
    mac: str = ""
    ipv4: str = ""
    prefix_length: int = 0
    gateway: str = ""
    host_ifname: str = ""
    ports: tuple[PortBinding, ...] = ()
