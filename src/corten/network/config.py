"""What daemon.json says about networks.

Keys as dockerd's: bridge, bip, fixed-cidr, default-gateway, mtu, icc, ip, ip-forward,
ip-forward-no-drop, ip-masq, iptables, ipv6, fixed-cidr-v6, default-gateway-v6,
default-address-pools, dns, dns-search, dns-opts, host-gateway-ip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from corten.errors import InvalidParameter, NotSupported
from corten.network.subnets import DEFAULT_POOLS, SubnetPool, unique_local_pool
from corten.network.values import ANY_ADDRESS, NAT, PUBLISH_MODES, IPNetwork

DEFAULT_BRIDGE = "corten0"
NO_BRIDGE = "none"  # daemon.json: "bridge": "none" switches the default network off
LINK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
_LINK_PREFIX = re.compile(r"[a-z][a-z0-9]{1,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The engine's network settings. `mtu` 0 follows the default route; `bip` None chooses a free subnet.

    `table` and `link_prefix` keep engines that share a machine apart, as `bridge` does; `seed` makes their
    unique local addresses differ.
    """

    bridge: str = DEFAULT_BRIDGE
    bip: IPv4Interface | None = None
    fixed_cidr: IPv4Network | None = None
    default_gateway: str = ""
    ipv6: bool = False
    fixed_cidr6: IPv6Network | None = None
    default_gateway6: str = ""
    mtu: int = 0
    icc: bool = True
    host_address: str = ANY_ADDRESS
    publish_mode: str = NAT
    ip_forward: bool = True
    ip_forward_no_drop: bool = False
    ip_masq: bool = True
    firewall: bool = True
    pools: tuple[SubnetPool, ...] = DEFAULT_POOLS
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    host_gateway: str = ""
    table: str = "corten"
    link_prefix: str = "vc"
    seed: str = "corten"

    def __post_init__(self) -> None:
        for pattern, value, what in (
            (LINK_NAME, self.bridge, "bridge name"),
            (_TABLE_NAME, self.table, "nftables table name"),
            (_LINK_PREFIX, self.link_prefix, "link prefix"),
        ):
            if not pattern.fullmatch(value):
                raise InvalidParameter(f"invalid {what}: {value!r}")
        if self.mtu and not 68 <= self.mtu <= 65535:
            raise InvalidParameter(f"invalid mtu: {self.mtu}")

    @property
    def all_pools(self) -> tuple[SubnetPool, ...]:
        """The pools that subnets are cut from, with one for IPv6 in any case."""
        if any(pool.base.version == 6 for pool in self.pools):
            return self.pools
        return (*self.pools, unique_local_pool(self.seed))

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, object],
        *,
        table: str = "corten",
        link_prefix: str = "vc",
        seed: str = "corten",
    ) -> NetworkConfig:
        """The settings in a parsed daemon.json; other keys are ignored. Raises InvalidParameter."""
        settings: dict[str, Any] = {"table": table, "link_prefix": link_prefix, "seed": seed}
        for key, (field, parse) in _KEYS.items():
            value = document.get(key)
            if value is not None and value != "":
                settings[field] = _parsed(key, parse, value)
        return cls(**settings)


def _parsed(key: str, parse: Callable[[object], Any], value: object) -> Any:
    try:
        return parse(value)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(f"invalid value for {key}: {value!r} ({error})") from error


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("not a list of strings")
    return tuple(_text(each) for each in value)


def _publish_mode(value: object) -> str:
    if value not in PUBLISH_MODES:
        raise ValueError("use nat or socket")
    return str(value)


def _ipv4(value: object) -> str:
    address = ip_address(_text(value))
    if not isinstance(address, IPv4Address):
        raise NotSupported(f"an IPv4 address is needed, not {value}")
    return str(address)


def _addresses(value: object) -> tuple[str, ...]:
    return tuple(str(ip_address(each)) for each in _texts(value))


def _interface(value: object) -> IPv4Interface:
    interface = IPv4Interface(_text(value))
    if interface.network.prefixlen > 30 or interface.ip in (
        interface.network.network_address,
        interface.network.broadcast_address,
    ):
        raise ValueError("not an address of a host in its subnet")
    return interface


def _ipv6(value: object) -> str:
    return str(IPv6Address(_text(value)))


def _subnet(value: object) -> IPv4Network:
    return IPv4Network(_text(value), strict=False)


def _subnet6(value: object) -> IPv6Network:
    return IPv6Network(_text(value), strict=False)


def _base(value: object) -> IPNetwork:
    return ip_network(_text(value), strict=False)


def _pools(value: object) -> tuple[SubnetPool, ...]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    pools = []
    for each in value:
        if not isinstance(each, dict):
            raise TypeError("not an object with base and size")
        pools.append(SubnetPool(_base(each.get("base")), _number(each.get("size"))))
    return tuple(pools) or DEFAULT_POOLS


# The field of a key, and what parses its value to that field's type.
_KEYS: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    "bridge": ("bridge", _text),
    "bip": ("bip", _interface),
    "fixed-cidr": ("fixed_cidr", _subnet),
    "default-gateway": ("default_gateway", _ipv4),
    "ipv6": ("ipv6", _flag),
    "fixed-cidr-v6": ("fixed_cidr6", _subnet6),
    "default-gateway-v6": ("default_gateway6", _ipv6),
    "mtu": ("mtu", _number),
    "icc": ("icc", _flag),
    "ip": ("host_address", _ipv4),
    "publish-mode": ("publish_mode", _publish_mode),
    "ip-forward": ("ip_forward", _flag),
    "ip-forward-no-drop": ("ip_forward_no_drop", _flag),
    "ip-masq": ("ip_masq", _flag),
    "iptables": ("firewall", _flag),
    "default-address-pools": ("pools", _pools),
    "dns": ("dns", _addresses),
    "dns-search": ("dns_search", _texts),
    "dns-opts": ("dns_options", _texts),
    "host-gateway-ip": ("host_gateway", _ipv4),
}
