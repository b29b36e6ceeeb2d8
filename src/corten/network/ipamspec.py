"""The IPAM part of a request, checked with Docker's words, and the subnets that come of it.

Source: Engine API 1.51, IPAM and IPAMConfig; messages of dockerd 26.1 and 28.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_interface, ip_network

from corten.errors import Forbidden, InvalidParameter, NotFound, NotSupported
from corten.network.subnets import overlapping
from corten.network.values import IPNetwork, Subnet
from corten.types.network import IPAM, IPAMConfig

DEFAULT_DRIVER = "default"
_NO_ADDRESSES = "null"

Choose = Callable[[int], IPNetwork]


def is_ours(ipam: IPAM) -> bool:
    """Whether the addresses are to be given by ourselves, and not by a plugin."""
    return ipam.driver in ("", DEFAULT_DRIVER, _NO_ADDRESSES)


def check_ipam(ipam: IPAM, *, plugged: bool = False) -> None:
    """Raises InvalidParameter with all that is wrong, NotFound for drivers that are no plugins, NotSupported.

    plugged: a plugin is the driver.
    """
    if ipam.driver == _NO_ADDRESSES:
        raise NotSupported(f'the IPAM driver "{_NO_ADDRESSES}" is not supported by Corten')
    if not plugged and not is_ours(ipam):
        raise NotFound(f'plugin "{ipam.driver}" not found')
    problems = [problem for entry in ipam.config or () for problem in _problems(entry)]
    if problems:
        raise InvalidParameter("invalid network config:\n" + "\n".join(problems))


def requested_subnets(ipam: IPAM, *, gateways: bool = True) -> tuple[Subnet, ...]:
    """The subnets that a checked request names. `gateways`: choose those that are not named."""
    return tuple(_subnet(entry, gateways=gateways) for entry in ipam.config or () if entry.subnet)


def chosen_subnet(subnet: IPNetwork) -> Subnet:
    """A subnet that we choose ourselves."""
    return Subnet(subnet=subnet, gateway=str(subnet[1]), chosen=True)


def check_overlaps(subnets: Iterable[Subnet], taken: Iterable[IPNetwork]) -> None:
    """Raise Forbidden if a requested subnet overlaps one of another network, or another one of them."""
    occupied = list(taken)
    for each in subnets:
        if overlapping(each.subnet, occupied):
            raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
        occupied.append(each.subnet)


def _problems(entry: IPAMConfig) -> Iterator[str]:
    if not entry.subnet:
        if entry.ip_range or entry.gateway or entry.auxiliary_addresses:
            yield "invalid subnet : invalid CIDR block notation"
        return
    try:
        interface = ip_interface(entry.subnet)
    except ValueError:
        yield f"invalid subnet {entry.subnet}: invalid CIDR block notation"
        return
    subnet = interface.network
    if "/" not in entry.subnet:
        yield f"invalid subnet {entry.subnet}: invalid CIDR block notation"
        return
    if interface.ip != subnet.network_address:
        yield f"invalid subnet {entry.subnet}: it should be {subnet}"
    if entry.ip_range:
        yield from _range_problems(entry.ip_range, subnet)
    if entry.gateway:
        yield from _address_problems(f"invalid gateway {entry.gateway}", entry.gateway, subnet)
    for name, address in (entry.auxiliary_addresses or {}).items():
        yield from _address_problems(f"invalid auxiliary address {name}", address, subnet)


def _range_problems(text: str, subnet: IPNetwork) -> Iterator[str]:
    try:
        interface = ip_interface(text)
    except ValueError:
        yield f"invalid ip-range {text}: invalid CIDR block notation"
        return
    network = interface.network
    if network.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
        return
    if network.prefixlen < subnet.prefixlen:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
    if interface.ip != network.network_address:
        yield f"invalid ip-range {text}: it should be {network}"
    if network.network_address not in subnet:
        yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"


def _address_problems(what: str, text: str, subnet: IPNetwork) -> Iterator[str]:
    try:
        address = ip_address(text)
    except ValueError:
        yield f"{what}: invalid address"
        return
    if address.version != subnet.version:
        yield f"{what}: parent subnet is an IPv{subnet.version} block"
    elif address not in subnet:
        yield f"{what}: parent subnet {subnet} doesn't contain this address"


def _subnet(entry: IPAMConfig, *, gateways: bool) -> Subnet:
    subnet = ip_network(entry.subnet)
    auxiliary = dict(entry.auxiliary_addresses or {})
    gateway = str(ip_address(entry.gateway)) if entry.gateway else ""
    ip_range = ip_network(entry.ip_range) if entry.ip_range else None
    implied = not gateway and gateways
    return Subnet(
        subnet=subnet,
        gateway=_free_gateway(subnet, ip_range, auxiliary) if implied else gateway,
        ip_range=ip_range,
        auxiliary=auxiliary,
        implied=implied,
    )


def _free_gateway(subnet: IPNetwork, ip_range: IPNetwork | None, auxiliary: dict[str, str]) -> str:
    """As Docker: the first address that is free, of the range if there is one."""
    if subnet.prefixlen == subnet.max_prefixlen:
        raise InvalidParameter(f"invalid network config:\nsubnet {subnet} has no room for a gateway")
    taken = {ip_address(each) for each in auxiliary.values()}
    block = ip_range or subnet
    first = int(block.network_address)
    if block.network_address == subnet.network_address and subnet.prefixlen < subnet.max_prefixlen - 1:
        first += 1
    for number in range(first, int(block.broadcast_address) + 1):
        address = ip_address(number.to_bytes(subnet.max_prefixlen // 8, "big"))
        if address not in taken:
            return str(address)
    raise InvalidParameter(f"invalid network config:\nsubnet {subnet} has no room for a gateway")
