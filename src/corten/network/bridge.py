"""The Linux bridge under a network."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Address, ip_address, ip_network

from corten.errors import Conflict
from corten.linux.netlink import route, sysctl
from corten.linux.netlink.socket import NetlinkSocket
from corten.network.config import NetworkConfig
from corten.network.ipam import mac_of
from corten.network.subnets import choose_subnet, overlapping
from corten.network.values import BRIDGE, IPNetwork, Network, Subnet

log = logging.getLogger(__name__)

_FALLBACK_MTU = 1500
_LINK_LOCAL = (IPv6Address("fe80::1").packed, 64)  # a bridge's, as Docker gives it
_NOT_DEFAULT = 8  # shortest prefix of a route that means a network and not "everything"


def configured(
    network: Network,
    config: NetworkConfig,
    sock: NetlinkSocket,
    *,
    ours: bool,
    avoid: Iterable[IPNetwork] = (),
) -> Network:
    """The default bridge network as daemon.json and the machine want it now.

    The subnet is the one of `bip`; else of the bridge as it is; else that of the last time; else the
    first of the pools that no route and nothing in `avoid` uses. The MTU is daemon.json's; else that of
    the default route's link, but not more than somebody else's bridge has. Raises Unavailable, Conflict.
    """
    interface = config.bip or _address_of(sock, config.bridge) or _last_time(network, config, sock)
    if interface is None:
        subnet = choose_subnet(config.pools, [*routed(sock, config.bridge), *avoid])
        interface = IPv4Interface((subnet[1].packed, subnet.prefixlen))
    if config.fixed_cidr and not config.fixed_cidr.subnet_of(interface.network):
        raise Conflict(
            f"fixed-cidr {config.fixed_cidr} is not within the bridge's subnet {interface.network}"
        )
    mtu = config.mtu or default_mtu(sock)
    link = route.find_link(sock, config.bridge)
    if link is not None and not ours and not config.mtu:
        mtu = min(mtu, link.mtu)
    four = Subnet(subnet=interface.network, gateway=str(interface.ip), ip_range=config.fixed_cidr)
    return replace(
        network,
        subnets=(four, *_second_subnet(network, config, sock)),
        ipv6=config.ipv6,
        default_gateways={
            version: address
            for version, address in (("4", config.default_gateway), ("6", config.default_gateway6))
            if address
        },
        bridge=config.bridge,
        mtu=mtu,
        icc=config.icc,
        masquerade=config.ip_masq,
        host_address=config.host_address,
        options=_options(config, mtu),
    )


def with_mtu(network: Network, config: NetworkConfig, sock: NetlinkSocket) -> Network:
    """A user-defined network with its MTU settled: as asked for, or that of the default route's link."""
    if network.mtu or network.driver != BRIDGE:
        return network
    return replace(network, mtu=config.mtu or default_mtu(sock))


def exists(name: str, sock: NetlinkSocket) -> bool:
    """Whether there is a bridge of this name. Conflict if another kind of link has it."""
    link = route.find_link(sock, name)
    if link is not None and link.kind != "bridge":
        raise Conflict(f"existing interface {name} is not a bridge")
    return link is not None


def ensure(network: Network, sock: NetlinkSocket, *, ours: bool) -> int:
    """Make the bridge exist, up, with the gateways' addresses; returns its link index. Raises OSError.

    A bridge that is not `ours` (somebody else made it) keeps its MTU and its other addresses.
    """
    wanted = [
        (ip_address(each.gateway).packed, each.subnet.prefixlen)
        for each in network.subnets
        if network.mode_of(each.version) != "isolated" and not (each.version == 4 and network.inhibit_ipv4)
    ]
    if not exists(network.bridge, sock):
        mac = bytes.fromhex(mac_of(network.subnets[0].gateway).replace(":", ""))
        sock.transact([route.bridge(network.bridge, mac=mac, mtu=network.mtu)])
        sock.transact([route.set_link(name=network.bridge, link_local=False)])
    index = route.link_index(sock, network.bridge)
    if ours:
        _ignore_routers(network.bridge)
    if network.subnet_of(6):
        wanted.append(_LINK_LOCAL)
        sysctl.write(f"ipv6/conf/{network.bridge}/disable_ipv6", "0")
    present = [
        (each.packed, each.prefix_length)
        for family in (route.AF_INET, route.AF_INET6)
        for each in route.addresses(sock, family)
        if each.link_index == index
    ]
    changes = [route.set_link(index, up=True, mtu=network.mtu if ours else 0)]
    if ours:
        changes += [route.delete_address(index, *each) for each in present if each not in wanted]
    changes += [route.address(index, *each) for each in wanted if each not in present]
    sock.transact(changes)
    if network.ipv4:
        _allow_loopback_sources(network.bridge)
    return index


def isolate_ports(network: Network, sock: NetlinkSocket) -> bool:
    """Whether icc=false has to be done by isolated ports. Raises OSError.

    If the kernel filters bridged packets (br_netfilter), our forward chain sees them and forbids what
    is not published. Without it they pass unseen, but then published ports are routed, not bridged.
    """
    if network.icc:
        return False
    if not sysctl.exists("bridge/bridge-nf-call-iptables"):
        return True
    sock.transact([route.filter_bridged(network.bridge)])
    return False


def remove(name: str, sock: NetlinkSocket) -> None:
    """Delete a bridge of ours, if it is still there. Raises OSError."""
    link = route.find_link(sock, name)
    if link is not None and link.kind == "bridge":
        sock.transact([route.delete_link(index=link.index)])


def default_mtu(sock: NetlinkSocket) -> int:
    """The MTU in bytes of the default route's link; 1500 without one."""
    link = route.find_default_link(sock)
    return link.mtu if link is not None and link.mtu else _FALLBACK_MTU


def _address_of(sock: NetlinkSocket, bridge: str) -> IPv4Interface | None:
    """The first IPv4 address that the bridge has already."""
    link = route.find_link(sock, bridge)
    if link is None or link.kind != "bridge":
        return None
    for each in route.addresses(sock, route.AF_INET):
        if each.link_index == link.index:
            return IPv4Interface((each.packed, each.prefix_length))
    return None


def _last_time(network: Network, config: NetworkConfig, sock: NetlinkSocket) -> IPv4Interface | None:
    """The subnet from the ledger, unless the machine has come to use it for something else."""
    subnet = network.subnet_of(4)
    if subnet is None or overlapping(subnet.subnet, routed(sock, config.bridge)):
        return None
    return IPv4Interface(f"{subnet.gateway}/{subnet.subnet.prefixlen}")


def _second_subnet(network: Network, config: NetworkConfig, sock: NetlinkSocket) -> tuple[Subnet, ...]:
    """The IPv6 subnet, if daemon.json wants one: fixed-cidr-v6, that of last time, or one of the pools."""
    if not config.ipv6:
        return ()
    last = network.subnet_of(6)
    if config.fixed_cidr6 is not None:
        return (Subnet(subnet=config.fixed_cidr6, gateway=str(config.fixed_cidr6[1])),)
    taken = routed(sock, config.bridge)
    if last is not None and not overlapping(last.subnet, taken):
        return (last,)
    subnet = choose_subnet(config.all_pools, taken, 6)
    return (Subnet(subnet=subnet, gateway=str(subnet[1])),)


def routed(sock: NetlinkSocket, except_bridge: str = "") -> list[IPNetwork]:
    """The destinations of all routes but the bridge's own and those that are default routes in disguise
    (VPNs split these into 0.0.0.0/1 and 128.0.0.0/1)."""
    own = route.find_link(sock, except_bridge) if except_bridge else None
    return [
        ip_network((each.destination, each.prefix_length))
        for family in (route.AF_INET, route.AF_INET6)
        for each in route.routes(sock, family)
        if each.prefix_length >= _NOT_DEFAULT
        and (own is None or each.link_index != own.index)
        and each.destination[:2] != _LINK_LOCAL[0][:2]
    ]


def _ignore_routers(bridge: str) -> None:
    """Keep containers from becoming the host's IPv6 router by advertising themselves (CVE-2020-13401)."""
    switch = f"ipv6/conf/{bridge}/accept_ra"
    if not sysctl.exists(switch):  # a kernel without IPv6
        return
    try:
        sysctl.write(switch, "0")
    except OSError as error:
        log.warning(
            "containers may become this machine's IPv6 routers: accept_ra cannot be set",
            extra={"bridge": bridge, "reason": os.strerror(error.errno or 0)},
        )


def _allow_loopback_sources(bridge: str) -> None:
    """Let packets from 127.0.0.1 to a published port leave through the bridge (route_localnet).

    The firewall drops packets that come in with such a destination.
    """
    try:
        sysctl.write(f"ipv4/conf/{bridge}/route_localnet", "1")
    except OSError as error:
        log.warning(
            "ports will not be reachable through 127.0.0.1: route_localnet cannot be set",
            extra={"bridge": bridge, "reason": os.strerror(error.errno or 0)},
        )


def _options(config: NetworkConfig, mtu: int) -> dict[str, str]:
    """What `docker network inspect bridge` shows as Options."""
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": str(config.icc).lower(),
        "com.docker.network.bridge.enable_ip_masquerade": str(config.ip_masq).lower(),
        "com.docker.network.bridge.host_binding_ipv4": config.host_address,
        "com.docker.network.bridge.name": config.bridge,
        "com.docker.network.driver.mtu": str(mtu),
    }
