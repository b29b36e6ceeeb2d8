"""A request to create a network → the network, as it will be in the ledger. Nothing is changed yet.

Source: Engine API 1.51, NetworkCreate; messages of dockerd 26.1 and 28.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from corten.errors import Conflict, Forbidden, InvalidParameter, NotFound, NotSupported
from corten.ids import new_id
from corten.network import ipamspec, options, overlay
from corten.network.ipamspec import Choose
from corten.network.predefined import is_predefined
from corten.network.values import (
    BRIDGE,
    HOST,
    IPVLAN,
    MACVLAN,
    NULL,
    OVERLAY,
    IPNetwork,
    Network,
    Place,
    Subnet,
)
from corten.types.network import NetworkCreate

_NAME = re.compile(r"[^\x00-\x20\x7f/][^\x00-\x1f\x7f/]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPlugins:
    """What plugins have said of a network to be. subnets: of an IPAM plugin; None: we choose them."""

    id: str
    scope: str = "local"
    subnets: tuple[Subnet, ...] | None = None


def define(
    request: NetworkCreate,
    existing: Mapping[str, Network],
    choose: Choose,
    taken: Iterable[IPNetwork],
    plugins: ByPlugins | None = None,
) -> Network:
    """The network that a request asks for.

    existing: networks by id. choose(version): a free subnet. taken: what requested subnets may not overlap.
    plugins: None: no plugin has a part in it.
    Raises InvalidParameter, Forbidden, Conflict, NotFound, NotSupported, Unavailable.
    """
    name = checked_name(request.name, existing)
    if request.ingress:
        raise NotSupported("an ingress network needs cluster mode, which Corten does not have yet")
    if request.scope not in ("", "local"):
        raise NotSupported(
            f"networks of scope {request.scope} need cluster mode, which Corten does not have yet"
        )
    ipam = request.ipam
    ipamspec.check_ipam(ipam, plugged=plugins is not None and plugins.subnets is not None)
    network = Network(
        id=plugins.id if plugins is not None else new_id(),
        scope=plugins.scope if plugins is not None else "local",
        ipam_driver=ipam.driver if plugins is not None and plugins.subnets is not None else "",
        name=name,
        driver=request.driver or BRIDGE,
        created_ns=time.time_ns(),
        internal=request.internal,
        attachable=request.attachable,
        ipam_options=None if ipam.options is None else dict(ipam.options),
        options=dict(request.options or {}),
        labels=dict(request.labels or {}),
        ipv4=_wanted(request.enable_ipv4, request.options, 4, default=True),
        ipv6=_wanted(request.enable_ipv6, request.options, 6, default=False),
    )
    if request.config_only:
        if request.config_from is not None and request.config_from.network:
            raise Forbidden("configuration network cannot depend on another configuration network")
        return replace(
            network,
            driver=NULL,
            config_only=True,
            subnets=ipamspec.requested_subnets(ipam, gateways=False),
        )
    if plugins is not None and plugins.subnets is not None:
        subnets = plugins.subnets
    elif request.config_from is not None and request.config_from.network:
        network, subnets = _from_config(network, request, existing)
    else:
        subnets = ipamspec.requested_subnets(ipam)
    if plugins is None or not network.is_plugged:
        network = _with_driver(network)
    if not (network.ipv4 or network.ipv6):
        raise InvalidParameter("IPv4 or IPv6 must be enabled")
    if network.ipam_driver:
        return replace(network, subnets=subnets)
    return replace(network, subnets=_complete(network, subnets, choose, taken))


def checked_name(name: str, existing: Mapping[str, Network]) -> str:
    """The name, if a new network may have it. Raises InvalidParameter, Forbidden, Conflict."""
    if not name.strip():
        raise InvalidParameter("invalid network name: name is empty")
    if not _NAME.fullmatch(name):
        raise InvalidParameter(f"invalid network name: {name!r}")
    if is_predefined(name) or name == "default":  # as a network mode: the bridge network
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if any(each.name == name for each in existing.values()):
        raise Conflict(f"network with name {name} already exists")
    return name


def _wanted(
    given: bool | None, driver_options: Mapping[str, str] | None, version: int, *, default: bool
) -> bool:
    if given is not None:
        return given
    switched = options.switch(driver_options or {}, version)
    return default if switched is None else switched


def _from_config(
    network: Network, request: NetworkCreate, existing: Mapping[str, Network]
) -> tuple[Network, tuple[Subnet, ...]]:
    """The network with the configuration of another one, which may not be mixed with its own."""
    assert request.config_from is not None
    wanted = request.config_from.network
    source = next((each for each in existing.values() if wanted in (each.name, each.id)), None)
    if source is None:
        raise NotFound(f'configuration network "{wanted}" not found')
    if not source.config_only:
        raise Forbidden(f'network "{wanted}" is not a configuration network')
    if request.ipam.config or request.options or request.labels or request.internal:
        raise Forbidden(
            "user supplied configurations are not supported if the network depends on a configuration network"
        )
    subnets = tuple(
        each if each.gateway else replace(each, gateway=str(each.subnet[1]), implied=True)
        for each in source.subnets
    )
    copied = replace(
        network,
        config_from=source.name,
        ipv4=source.ipv4,
        ipv6=source.ipv6,
        internal=source.internal,
        options=source.options,
        labels=source.labels,
        ipam_options=source.ipam_options,
    )
    return copied, subnets


def _with_driver(network: Network) -> Network:
    """The network with what its driver makes of its options."""
    driver = network.driver
    if driver in (HOST, NULL):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver in (BRIDGE, OVERLAY):
        settings = options.bridge_settings(network.options, internal=network.internal)
        network = replace(network, **settings)
        if driver == OVERLAY:
            network = _joined(network)
        return network if network.bridge else replace(network, bridge=f"br-{network.id[:12]}")
    if driver in (MACVLAN, IPVLAN):
        return replace(network, **options.parent_settings(driver, network.options))
    raise NotFound(f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found')


def _joined(network: Network) -> Network:
    """An overlay network with its peers."""
    if not network.ipv4:
        raise NotSupported("overlay networks without IPv4 are not supported by Corten")
    if not network.icc:
        raise NotSupported("overlay networks whose containers may not talk to each other are not supported")
    if network.egress:
        raise NotSupported("egress control is the bridge driver's: overlay networks have no rules for it")
    return replace(network, overlay=overlay.parse_options(network.name, network.options))


def _complete(
    network: Network, subnets: tuple[Subnet, ...], choose: Choose, taken: Iterable[IPNetwork]
) -> tuple[Subnet, ...]:
    """With subnets of every IP version that is on, and none of the others."""
    if any(each.version == 6 for each in subnets) and not network.ipv6:
        subnets = tuple(each for each in subnets if each.version == 4)
    if any(each.version == 4 for each in subnets) and not network.ipv4:
        raise InvalidParameter("IPv4 is disabled, but an IPv4 subnet is given")
    ipamspec.check_overlaps(subnets, taken)
    for version, on in ((4, network.ipv4), (6, network.ipv6)):
        if on and not any(each.version == version for each in subnets):
            subnets += (ipamspec.chosen_subnet(choose(version)),)
    return subnets


def check_place(network: Network, place: Place, context: str = "") -> None:
    """Docker's rules on who may ask for an address. Raises InvalidParameter with all that is wrong.

    context: the beginning of the message.
    """
    problems = []
    if is_predefined(network.name):
        problems.append("user specified IP address is supported on user defined networks only")
    for wanted, version in ((place.ipv4, 4), (place.ipv6, 6)):
        if not wanted:
            continue
        try:
            address = ip_address(wanted)
        except ValueError:
            problems.append(f"invalid IPv{version} address: {wanted}")
            continue
        if network.ipam_driver:  # the plugin will judge
            continue
        subnets = [each for each in network.subnets if each.version == version and not each.chosen]
        if address.version != version:
            problems.append(f"invalid IPv{version} address: {wanted}")
        elif not subnets or is_predefined(network.name):
            problems.append(
                "user specified IP address is supported only when connecting to networks with user configured"
                " subnets"
            )
        elif not any(address in each.subnet for each in subnets):
            problems.append(f"no configured subnet or ip-range contain the IP address {wanted}")
    if problems:
        texts = problems if len(problems) == 1 else [f"* {each}" for each in dict.fromkeys(problems)]
        raise InvalidParameter(f"{context}invalid endpoint settings:\n" + "\n".join(texts))
