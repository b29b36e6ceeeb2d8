"""The nouns: Network, Endpoint, PortRequest, PortBinding.

    Network 1 ──── n Endpoint n ──── 1 sandbox (a container's network namespace)
                        │ 1
                        n PortBinding

An endpoint is a container's place in a network: an interface with a MAC and addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, TypeAlias

BRIDGE = "bridge"
HOST = "host"
NULL = "null"  # Docker's name for the driver of the network "none"
MACVLAN = "macvlan"
IPVLAN = "ipvlan"
OVERLAY = "overlay"
BUILT_IN = (BRIDGE, HOST, NULL, MACVLAN, IPVLAN, OVERLAY)  # drivers that are no plugins

IPNetwork: TypeAlias = IPv4Network | IPv6Network

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - published on every address, Docker's default
ANY_ADDRESS6 = "::"

PROTOCOLS: Mapping[str, int] = {"tcp": 6, "udp": 17, "sctp": 132}  # name -> IP protocol number


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One entry of a network's IPAM configuration. Containers get addresses from `ip_range`.

    chosen: by us and not by the user; implied: the gateway is ours, the user named none.
    auxiliary: addresses by name that others have.
    """

    subnet: IPNetwork
    gateway: str
    ip_range: IPNetwork | None = None
    auxiliary: Mapping[str, str] = field(default_factory=dict)
    chosen: bool = False
    implied: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.subnet.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """How a network's bridges on several engines are joined by VXLAN.

    vni: the network's number, port: UDP, the same on all engines; local: our address, peers: the others'.
    """

    vni: int
    port: int
    local: str = ""
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """A route that a network plugin wants; next_hop "": the interface itself."""

    destination: str
    next_hop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """What plugins have made for an endpoint: addresses with the length of their prefix, and from a network
    plugin the link that goes into the container, its name's beginning there, gateways and routes."""

    endpoint_id: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    link: str = ""
    ifname_prefix: str = ""
    gateway: str = ""
    gateway6: str = ""
    routes: tuple[StaticRoute, ...] = ()

    def but(self, **fields: Any) -> Plugged:
        """The same with other values."""
        return replace(self, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as the ledger has it. `subnets` is empty for host and null; `mtu` is in bytes.

    modes: how packets get in and out, by IP version: "nat", "nat-unprotected", "routed" or "isolated".
    sources: the address that outgoing packets get instead of the interface's, by IP version.
    inhibit_ipv4: the bridge has no IPv4 address; somebody else on it is the gateway.
    parent, mode: of macvlan and ipvlan; flag: ipvlan's.
    """

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
    publish_mode: str = ""  # of ports that name none; "" is the engine's
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    modes: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    default_gateways: Mapping[str, str] = field(
        default_factory=dict
    )  # instead of the subnets', by IP version
    ifname_prefix: str = "eth"
    inhibit_ipv4: bool = False
    parent: str = ""
    mode: str = ""
    flag: str = "bridge"
    overlay: Overlay | None = None
    scope: str = "local"  # a plugin may say "global"
    ipam_driver: str = ""  # a plugin's name; "": ourselves
    config_only: bool = False
    config_from: str = ""
    egress: str = ""  # what may be reached outside: a policy's text, "" for everything
    ipam_options: Mapping[str, str] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_plugged(self) -> bool:
        """Whether a plugin is its driver."""
        return self.driver not in BUILT_IN

    @property
    def uses_plugins(self) -> bool:
        """Whether a plugin makes its endpoints or gives their addresses."""
        return bool(self.ipam_driver) or self.is_plugged

    @property
    def is_bridged(self) -> bool:
        """Whether its containers are on a bridge of this machine."""
        return self.driver in (BRIDGE, OVERLAY)

    def subnet_of(self, version: int) -> Subnet | None:
        """Its first subnet of an IP version, or None."""
        return next((each for each in self.subnets if each.version == version), None)

    def subnet_with(self, address: str) -> Subnet | None:
        """The subnet of an address that is the network's; None for the address ""."""
        if not address:
            return None
        found = [each for each in self.subnets if (each.version == 6) == (":" in address)]
        if len(found) > 1:  # seldom, and parsing costs microseconds
            parsed = ip_address(address)
            found = [each for each in found if parsed in each.subnet]
        return found[0] if found else None

    def mode_of(self, version: int) -> str:
        """How packets of an IP version get in and out; see `modes`."""
        return self.modes.get(str(version), "nat")

    def gateway_in(self, subnet: Subnet | None) -> str:
        """What containers of a subnet use as their default gateway; "" if the network leads nowhere."""
        if subnet is None or self.internal or (self.driver == IPVLAN and self.mode != "l2"):
            return ""
        return self.default_gateways.get(str(subnet.version)) or subnet.gateway


NAT = "nat"
SOCKET = "socket"
PUBLISH_MODES = (NAT, SOCKET)
"""How what comes to a published port gets to the container: by the kernel's NAT, or by the relay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """A port to publish. `host_address` and `mode` "" are the network's; host ports 0, 0 are "any free one".

    Of the range first_host_port..last_host_port the first free one is taken.
    """

    protocol: str
    container_port: int
    host_address: str = ""
    first_host_port: int = 0
    last_host_port: int = 0
    mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortBinding:
    """A published port."""

    protocol: str
    container_port: int
    host_address: str
    host_port: int
    mode: str = NAT

    @property
    def name(self) -> str:
        """What it is called between engine and relay."""
        return f"{self.protocol} {self.host_address} {self.host_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a container asks of one network: the network's name or id, and wishes ("" or 0: none)."""

    network: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    ifname: str = ""
    gw_priority: int = 0
    dns_names: tuple[str, ...] = ()
    link_local: tuple[str, ...] = ()
    egress: str = ""  # the container's policy, the same for all its places
    sysctls: tuple[str, ...] = ()  # net.ipv4.conf.IFNAME.log_martians=1
    options: Mapping[str, str] = field(default_factory=dict)  # for a network plugin
    plugged: Plugged | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A container's place in a network. Addresses are "" where the network has none.

    ifname: the interface inside; host_ifname: the veth's end on the host ("" for macvlan).
    dns_names: what others on the network may call it. link_local, sysctls: wishes for its making,
    not kept in the ledger.
    """

    id: str
    network_id: str
    network_name: str
    container_id: str
    name: str  # the container's
    mac: str = ""
    ipv4: str = ""
    prefix_length: int = 0
    gateway: str = ""
    ipv6: str = ""
    prefix_length6: int = 0
    gateway6: str = ""
    ifname: str = ""
    host_ifname: str = ""
    gw_priority: int = 0
    dns_names: tuple[str, ...] = ()
    link_local: tuple[str, ...] = ()
    sysctls: tuple[str, ...] = ()
    egress: str = ""  # the container's policy
    plugged: Plugged | None = None
    ports: tuple[PortBinding, ...] = ()

    @property
    def relayed_ports(self) -> tuple[PortBinding, ...]:
        """Its ports of the mode "socket"."""
        return tuple(port for port in self.ports if port.mode == SOCKET)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Its addresses with the length of their prefix, IPv4 first."""
        if not self.ipv6:
            return ((self.ipv4, self.prefix_length),) if self.ipv4 else ()
        six = (self.ipv6, self.prefix_length6)
        return ((self.ipv4, self.prefix_length), six) if self.ipv4 else (six,)
