"""Networks and the endpoints of containers on them."""

from __future__ import annotations

import msgspec

from corten.types.document import Document, Int64, always


class Address(Document, kw_only=True):
    """An IP address and the length of its prefix."""

    addr: str
    prefix_len: int


class EndpointIPAMConfig(Document, kw_only=True):
    """Addresses asked for."""

    ipv4_address: str = msgspec.field(default="", name="IPv4Address")
    ipv6_address: str = msgspec.field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = msgspec.field(default=None, name="LinkLocalIPs")


class EndpointSettings(Document, kw_only=True):
    """A container's place on a network: what was asked for, then what came of it."""

    ipam_config: EndpointIPAMConfig | None = always(None, name="IPAMConfig")
    links: list[str] | None = always(None)
    aliases: list[str] | None = always(None)
    mac_address: str = always("")
    driver_opts: dict[str, str] | None = always(None)
    gw_priority: Int64 = always(0)
    network_id: str = always("", name="NetworkID")
    endpoint_id: str = always("", name="EndpointID")
    gateway: str = always("")
    ip_address: str = always("", name="IPAddress")
    ip_prefix_len: Int64 = always(0, name="IPPrefixLen")
    ipv6_gateway: str = always("", name="IPv6Gateway")
    global_ipv6_address: str = always("", name="GlobalIPv6Address")
    global_ipv6_prefix_len: Int64 = always(0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = always(None, name="DNSNames")


class IPAMConfig(Document, kw_only=True):
    """One pool of addresses."""

    subnet: str = ""
    ip_range: str = msgspec.field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IPAM(Document, kw_only=True):
    """Management of addresses of a network."""

    driver: str = always("default")
    options: dict[str, str] | None = always(None)
    config: list[IPAMConfig] | None = always(None)


class ConfigReference(Document, kw_only=True):
    """The network that holds this one's configuration."""

    network: str = always("")


class NetworkContainer(Document, kw_only=True):
    """An endpoint as the network shows it; addresses with prefix length."""

    name: str
    endpoint_id: str = msgspec.field(name="EndpointID")
    mac_address: str
    ipv4_address: str = msgspec.field(name="IPv4Address")
    ipv6_address: str = msgspec.field(name="IPv6Address")


class PeerInfo(Document, kw_only=True):
    """An engine that an overlay network is on."""

    name: str
    ip: str = msgspec.field(name="IP")


class Network(Document, kw_only=True):
    """Answer of GET /networks/{id} and, with Containers empty, an item of GET /networks."""

    name: str
    id: str
    created: str
    scope: str
    driver: str
    enable_ipv4: bool = msgspec.field(name="EnableIPv4")
    enable_ipv6: bool = msgspec.field(name="EnableIPv6")
    ipam: IPAM = msgspec.field(name="IPAM")
    internal: bool
    attachable: bool
    ingress: bool
    config_from: ConfigReference
    config_only: bool
    containers: dict[str, NetworkContainer]
    options: dict[str, str] | None
    labels: dict[str, str] | None
    peers: list[PeerInfo] | None = None


class NetworkCreate(Document, kw_only=True):
    """Body of POST /networks/create. Old clients' CheckDuplicate is ignored: names are always unique."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = msgspec.field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = msgspec.field(default=None, name="EnableIPv6")
    ipam: IPAM = msgspec.field(default_factory=IPAM, name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreateResponse(Document, kw_only=True):
    """Answer of POST /networks/create."""

    id: str
    warning: str = always("")


class NetworkConnect(Document, kw_only=True):
    """Body of POST /networks/{id}/connect."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnect(Document, kw_only=True):
    """Body of POST /networks/{id}/disconnect."""

    container: str = ""
    force: bool = False


class NetworksPruneReport(Document, kw_only=True):
    """Answer of POST /networks/prune."""

    networks_deleted: list[str] | None
