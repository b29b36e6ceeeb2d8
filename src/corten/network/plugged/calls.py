"""Calling network and IPAM plugins. Everything here blocks: call it in a thread.

Sources: moby, libnetwork/docs/{remote,ipam}.md and the API documents of both protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

import msgspec

from corten.errors import InvalidParameter
from corten.network.addresses import hardware_address
from corten.network.config import LINK_NAME
from corten.network.values import IPNetwork, Network, Plugged, StaticRoute
from corten.plugins.client import Plugin, PluginError, Reply
from corten.plugins.discovery import NoSuchPlugin, PluginFolders

DRIVER, IPAM = "NetworkDriver", "IpamDriver"

_GATEWAY = "com.docker.network.gateway"
_ADDRESS_TYPE = "RequestAddressType"
_GENERIC = "com.docker.network.generic"
_ON_LINK = 1  # RouteType of routes without next hop


class _Capabilities(Reply):
    scope: str | None = None


class _Spaces(Reply):
    local: str | None = msgspec.field(default=None, name="LocalDefaultAddressSpace")


class _Pool(Reply):
    id: str = msgspec.field(default="", name="PoolID")
    pool: str = ""
    data: dict[str, str] | None = None


class _Address(Reply):
    address: str = ""


class _Interface(msgspec.Struct, rename="pascal"):
    address: str | None = None
    address_ipv6: str | None = msgspec.field(default=None, name="AddressIPv6")
    mac_address: str | None = None


class _Endpoint(Reply):
    interface: _Interface | None = None


class _InterfaceName(msgspec.Struct, rename="pascal"):
    src_name: str | None = None
    dst_prefix: str | None = None


class _Route(msgspec.Struct, rename="pascal"):
    destination: str = ""
    route_type: int = 0
    next_hop: str | None = None


class _Joined(Reply):
    interface_name: _InterfaceName | None = None
    gateway: str | None = None
    gateway_ipv6: str | None = msgspec.field(default=None, name="GatewayIPv6")
    static_routes: list[_Route] | None = None


class Plugins:
    """Plugins by name: looked for at every call (they may come, go and move), but activated once a place."""

    def __init__(self, folders: PluginFolders) -> None:
        self._folders = folders
        self._activated: dict[str, tuple[str, list[str]]] = {}  # by name: its address, what it implements

    def open(self, name: str, interface: str) -> Plugin:
        """Raises NoSuchPlugin, PluginError. Blocks."""
        where = self._folders.find(name)
        plugin = Plugin(where)
        address, implements = self._activated.get(name, ("", []))
        if address != where.address or interface not in implements:
            implements = plugin.activate()
            self._activated[name] = (where.address, implements)
        if interface not in implements:
            raise NoSuchPlugin(name)
        return plugin


def check_version(method: str, plugin: str, address: str, version: int) -> None:
    """Raise PluginError if an address or subnet that a plugin gave is of the other IP version."""
    if address and ip_interface(address).version != version:
        text = f"{method}: plugin {plugin}: {address} is not of IP version {version}"
        raise PluginError(text, reached=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool of addresses that an IPAM plugin gave. gateway: "" if it named none."""

    id: str
    subnet: IPNetwork
    gateway: str


class IpamPlugin:
    """The calls of IpamDriver. All raise PluginError."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def request_pool(self, subnet: str, ip_range: str, options: Mapping[str, str], *, version: int) -> Pool:
        """A pool; subnet "": one of the plugin's choice."""
        space = self._plugin.call(f"{IPAM}.GetDefaultAddressSpaces", None, _Spaces).local or ""
        body = {
            "AddressSpace": space,
            "Pool": subnet,
            "SubPool": ip_range,
            "Options": dict(options),
            "V6": version == 6,
        }
        answer = self._plugin.call(f"{IPAM}.RequestPool", body, _Pool)
        gateway = (answer.data or {}).get(_GATEWAY, "")
        try:
            found = ip_network(answer.pool, strict=False)
            return Pool(id=answer.id, subnet=found, gateway=str(ip_interface(gateway).ip) if gateway else "")
        except ValueError as e:
            raise PluginError(f"{IPAM}.RequestPool: plugin {self._plugin.name}: {e}", reached=True) from e

    def release_pool(self, pool_id: str) -> None:
        """Give a pool back."""
        self._plugin.call(f"{IPAM}.ReleasePool", {"PoolID": pool_id}, Reply)

    def request_address(
        self, pool_id: str, address: str = "", *, mac: str = "", gateway: bool = False
    ) -> str:
        """An address of a pool, with the length of its prefix; address "": one of the plugin's choice."""
        options = {_ADDRESS_TYPE: _GATEWAY} if gateway else {}
        if mac:
            options["com.docker.network.endpoint.macaddress"] = mac
        body = {"PoolID": pool_id, "Address": address, "Options": options}
        text = self._plugin.call(f"{IPAM}.RequestAddress", body, _Address).address
        try:
            return str(ip_interface(text))
        except ValueError as e:
            raise PluginError(f"{IPAM}.RequestAddress: plugin {self._plugin.name}: {e}", reached=True) from e

    def release_address(self, pool_id: str, address: str) -> None:
        """Give an address back."""
        self._plugin.call(f"{IPAM}.ReleaseAddress", {"PoolID": pool_id, "Address": address}, Reply)


class DriverPlugin:
    """The calls of NetworkDriver. All raise PluginError."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def scope(self) -> str:
        """ "local" or "global"."""
        answer = self._plugin.call(f"{DRIVER}.GetCapabilities", None, _Capabilities)
        return "global" if answer.scope == "global" else "local"

    def create_network(self, network: Network) -> None:
        """Make the network."""
        options = {
            "com.docker.network.enable_ipv4": network.ipv4,
            "com.docker.network.enable_ipv6": network.ipv6,
            "com.docker.network.internal": network.internal,
            _GENERIC: dict(network.options),
        }
        body = {
            "NetworkID": network.id,
            "Options": options,
            "IPv4Data": _ipam_data(network, 4),
            "IPv6Data": _ipam_data(network, 6),
        }
        self._plugin.call(f"{DRIVER}.CreateNetwork", body, Reply)

    def delete_network(self, network_id: str) -> None:
        """Remove the network."""
        self._plugin.call(f"{DRIVER}.DeleteNetwork", {"NetworkID": network_id}, Reply)

    def create_endpoint(self, network_id: str, made: Plugged, options: Mapping[str, str]) -> Plugged:
        """Make an endpoint; the plugin may give it what it has not: addresses, a MAC."""
        interface = {"Address": made.ipv4, "AddressIPv6": made.ipv6, "MacAddress": made.mac}
        body = {
            "NetworkID": network_id,
            "EndpointID": made.endpoint_id,
            "Interface": interface,
            "Options": dict(options),
        }
        given = self._plugin.call(f"{DRIVER}.CreateEndpoint", body, _Endpoint).interface or _Interface()
        new = {
            "ipv4": given.address or "",
            "ipv6": given.address_ipv6 or "",
            "mac": given.mac_address or "",
        }
        for field, value in new.items():
            if value and getattr(made, field):
                raise PluginError(
                    f"{DRIVER}.CreateEndpoint: plugin {self._plugin.name} changes what it was given: {value}",
                    reached=True,
                )
        self._check(f"{DRIVER}.CreateEndpoint", [new["ipv4"], new["ipv6"]], [])
        self._check_versions(f"{DRIVER}.CreateEndpoint", new["ipv4"], new["ipv6"])
        if new["mac"]:
            try:
                new["mac"] = hardware_address(new["mac"])
            except InvalidParameter as e:
                method = f"{DRIVER}.CreateEndpoint"
                raise PluginError(f"{method}: plugin {self._plugin.name}: {e}", reached=True) from e
        return made.but(**{field: value for field, value in new.items() if value})

    def join(self, network_id: str, made: Plugged, sandbox_key: str) -> Plugged:
        """What of the endpoint goes into a container's namespace (a path)."""
        method = f"{DRIVER}.Join"
        body = {
            "NetworkID": network_id,
            "EndpointID": made.endpoint_id,
            "SandboxKey": sandbox_key,
            "Options": {},
        }
        answer = self._plugin.call(method, body, _Joined)
        name = answer.interface_name or _InterfaceName()
        routes = tuple(
            StaticRoute(
                destination=each.destination,
                next_hop="" if each.route_type == _ON_LINK else each.next_hop or "",
            )
            for each in answer.static_routes or ()
        )
        hops = [answer.gateway or "", answer.gateway_ipv6 or "", *(each.next_hop for each in routes)]
        self._check(method, [each.destination for each in routes], hops)
        self._check_versions(method, answer.gateway or "", answer.gateway_ipv6 or "")
        prefix = name.dst_prefix or "eth"
        if not LINK_NAME.fullmatch(name.src_name or "") or not LINK_NAME.fullmatch(f"{prefix}0"):
            raise PluginError(f"{method}: plugin {self._plugin.name} names no interface", reached=True)
        return made.but(
            link=name.src_name,
            ifname_prefix=prefix,
            gateway=answer.gateway or "",
            gateway6=answer.gateway_ipv6 or "",
            routes=routes,
        )

    def _check(self, method: str, networks: list[str], addresses: list[str]) -> None:
        try:
            for each in filter(None, networks):
                ip_interface(each)
            for each in filter(None, addresses):
                ip_address(each)
        except ValueError as e:
            raise PluginError(f"{method}: plugin {self._plugin.name}: {e}", reached=True) from e

    def _check_versions(self, method: str, four: str, six: str) -> None:
        check_version(method, self._plugin.name, four, 4)
        check_version(method, self._plugin.name, six, 6)

    def leave(self, network_id: str, endpoint_id: str) -> None:
        """The container has gone."""
        self._plugin.call(f"{DRIVER}.Leave", {"NetworkID": network_id, "EndpointID": endpoint_id}, Reply)

    def delete_endpoint(self, network_id: str, endpoint_id: str) -> None:
        """Remove an endpoint."""
        body = {"NetworkID": network_id, "EndpointID": endpoint_id}
        self._plugin.call(f"{DRIVER}.DeleteEndpoint", body, Reply)


def _ipam_data(network: Network, version: int) -> list[dict[str, object]]:
    return [
        {
            "AddressSpace": "LocalDefault",
            "Pool": str(each.subnet),
            "Gateway": f"{each.gateway}/{each.subnet.prefixlen}" if each.gateway else "",
            "AuxAddresses": {
                name: f"{address}/{each.subnet.prefixlen}" for name, address in each.auxiliary.items()
            },
        }
        for each in network.subnets
        if each.version == version
    ]
