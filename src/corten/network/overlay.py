"""Overlay networks: one bridge on each of several engines, joined by VXLAN between static peers.

Each engine has the whole network but its containers only in its own part of the subnet. Nothing is shared:
the same `network create` on every engine makes the same network, since who is which part follows from the
order of the peers, and the network's number from its name. Broadcasts and frames for MACs not yet seen go to
every peer; behind whom a MAC is, is learned from what comes in: no engine has to know the others' containers.
The gateway is on every engine and answers to its own containers only.

A cluster that does know uses `set_peers`, `put_station` and `drop_station`: then nothing needs to be flooded.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address, ip_network

from corten.errors import Conflict, InvalidParameter, NotSupported, Unavailable
from corten.linux.netlink import route, vxlan
from corten.linux.netlink.socket import NetlinkSocket
from corten.network.values import IPNetwork, Network, Overlay, Subnet

PEERS = "corten.overlay.peers"
PORT = "corten.overlay.port"
NUMBERS = "com.docker.network.driver.overlay.vxlanid_list"
_ENCRYPTED = "encrypted"

_DEFAULT_PORT = 4789  # IANA's
_FIRST_NUMBER, _NUMBERS = 4096, 1 << 24  # Docker numbers from 4096, too
_OVERHEAD = 50  # bytes: IPv4, UDP and VXLAN headers and the inner Ethernet's
_MOST_PEERS = 256


def parse_options(name: str, options: Mapping[str, str]) -> Overlay:
    """What a request says of the tunnel; `local` is not known yet.

    Raises InvalidParameter, NotSupported, Unavailable (no peers, so it is meant for a cluster).
    """
    if options.get(_ENCRYPTED, "false").lower() not in ("0", "f", "false"):
        raise NotSupported(
            "encrypted overlay networks are not supported by Corten: let the engines reach each other through"
            " WireGuard or IPsec, and name the addresses inside as peers"
        )
    if not options.get(PEERS, "").strip(","):
        raise Unavailable(
            "This node is not a swarm manager. Name the engines of the network with"
            f" -o {PEERS}=ADDRESS,ADDRESS,..."
        )
    peers = [_peer(each.strip()) for each in options[PEERS].split(",") if each.strip()]
    if len(set(peers)) != len(peers):
        raise InvalidParameter(f"invalid value for {PEERS}: an address is there twice")
    if len(peers) > _MOST_PEERS:
        raise InvalidParameter(f"invalid value for {PEERS}: more than {_MOST_PEERS} addresses")
    default = _FIRST_NUMBER + int(hashlib.sha256(name.encode()).hexdigest(), 16) % (_NUMBERS - _FIRST_NUMBER)
    return Overlay(
        vni=_number(NUMBERS, options, default, _NUMBERS - 1),
        port=_number(PORT, options, _DEFAULT_PORT, 65535),
        peers=tuple(peers),
    )


def located(network: Network, sock: NetlinkSocket) -> Network:
    """The network as this machine has it: our address, our part of the subnets, the MTU.

    Raises InvalidParameter, Unavailable, OSError.
    """
    overlay = network.overlay
    if overlay is None:
        return network
    for version in (4, 6):
        subnet = network.subnet_of(version)
        if subnet is not None and subnet.chosen:
            what = "a subnet" if version == 4 else "an IPv6 subnet"
            raise InvalidParameter(f"an overlay network needs {what}, the same on every engine: --subnet")
        if sum(each.version == version for each in network.subnets) > 1:
            raise NotSupported("an overlay network has one subnet of each IP version")
    links = {socket.inet_ntoa(each.packed): each.link_index for each in route.addresses(sock, route.AF_INET)}
    ours = [each for each in overlay.peers if each in links]
    if len(ours) > 1:
        raise InvalidParameter(f"invalid value for {PEERS}: {' and '.join(ours)} are both this machine")
    local = ours[0] if ours else _address_towards(overlay.peers[0])
    subnets = network.subnets
    if ours and len(overlay.peers) > 1:
        subnets = tuple(_part(each, overlay.peers.index(local), len(overlay.peers)) for each in subnets)
    elif not ours and not all(each.ip_range for each in subnets):
        raise InvalidParameter(
            f"{PEERS} has no address of this machine, so which part of the subnet is its own has to be said:"
            " --ip-range"
        )
    uplink = next((each for each in route.links(sock) if each.index == links.get(local)), None)
    mtu = network.mtu or (uplink.mtu if uplink is not None else 1500) - _OVERHEAD
    others = tuple(each for each in overlay.peers if each != local)
    return replace(network, mtu=mtu, subnets=subnets, overlay=replace(overlay, local=local, peers=others))


def tunnel_name(network: Network) -> str:
    """The name of its VXLAN link."""
    return f"vx-{network.id[:12]}"


def ensure_tunnel(network: Network, bridge_index: int, sock: NetlinkSocket) -> None:
    """Make the tunnel exist, as a port of the bridge that leads to the peers. Raises OSError, Conflict."""
    overlay = network.overlay
    assert overlay is not None
    name = tunnel_name(network)
    if route.find_link(sock, name) is None:
        message = vxlan.tunnel(
            name,
            vni=overlay.vni,
            local=_packed(overlay.local),
            port=overlay.port,
            master=bridge_index,
            mtu=network.mtu,
        )
        try:
            sock.transact([message])
        except FileExistsError as error:
            raise Conflict(
                f"network number (VNI) {overlay.vni} is used by another link on UDP port {overlay.port}:"
                f" choose one with -o {NUMBERS}=NUMBER"
            ) from error
    sock.transact([route.set_link(name=name, master=bridge_index, up=True), vxlan.quiet_port(name)])
    set_peers(network, overlay.peers, sock)


def set_peers(network: Network, peers: Sequence[str], sock: NetlinkSocket) -> None:
    """Who gets what the tunnel does not know the way of: these and nobody else. Raises OSError."""
    index = route.link_index(sock, tunnel_name(network))
    wanted = {_packed(each) for each in peers}
    present = vxlan.forwarding(sock, index).get(vxlan.EVERYBODY, set())
    changes = [vxlan.flood_to(index, each) for each in sorted(wanted - present)]
    changes += [vxlan.flood_no_more(index, each) for each in sorted(present - wanted)]
    sock.transact(changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """Somebody else's container on the network: its MAC, addresses and the engine it is on."""

    mac: str
    addresses: tuple[str, ...]
    peer: str


def put_station(network: Network, station: Station, sock: NetlinkSocket) -> None:
    """Know a container elsewhere: where its frames go, and what to answer who asks for its MAC.

    Raises OSError.
    """
    index, bridge = _indices(network, sock)
    mac = bytes.fromhex(station.mac.replace(":", ""))
    messages = vxlan.station(index, mac, _packed(station.peer))
    messages += [route.neighbour(bridge, _packed(each), mac) for each in station.addresses]
    sock.transact(messages)


def drop_station(network: Network, station: Station, sock: NetlinkSocket) -> None:
    """Forget a container elsewhere. Raises OSError."""
    index, bridge = _indices(network, sock)
    messages = vxlan.delete_station(index, bytes.fromhex(station.mac.replace(":", "")))
    messages += [route.delete_neighbour(bridge, _packed(each)) for each in station.addresses]
    sock.transact(messages)


def _indices(network: Network, sock: NetlinkSocket) -> tuple[int, int]:
    return route.link_index(sock, tunnel_name(network)), route.link_index(sock, network.bridge)


def _part(subnet: Subnet, position: int, parts: int) -> Subnet:
    """The subnet with that part of it as its range, of as many equal ones as there are peers or a few more.

    What has a range already keeps it.
    """
    if subnet.ip_range is not None:
        return subnet
    length = subnet.subnet.prefixlen + (parts - 1).bit_length()
    if length > subnet.subnet.max_prefixlen - 2:
        raise InvalidParameter(f"subnet {subnet.subnet} is too small for {parts} engines")
    size = 1 << (subnet.subnet.max_prefixlen - length)
    first = int(subnet.subnet.network_address) + position * size
    packed = first.to_bytes(subnet.subnet.max_prefixlen // 8, "big")
    ip_range: IPNetwork = ip_network((packed, length))
    return replace(subnet, ip_range=ip_range)


def _peer(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise InvalidParameter(f"invalid value for {PEERS}: {text} is no IP address") from error
    if not isinstance(address, IPv4Address):
        raise NotSupported(f"invalid value for {PEERS}: peers have IPv4 addresses, not {text}")
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise InvalidParameter(f"invalid value for {PEERS}: {text} is no address of an engine")
    return str(address)


def _number(name: str, options: Mapping[str, str], default: int, highest: int) -> int:
    text = options.get(name, "") or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= highest):
        raise InvalidParameter(f"invalid value for {name}: {text} is no number from 1 to {highest}")
    return int(text)


def _address_towards(peer: str) -> str:
    """The address that packets of ours to a peer have. Raises Unavailable."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((peer, _DEFAULT_PORT))  # sends nothing
        except OSError as error:
            raise Unavailable(f"there is no way to the peer {peer}: {error.strerror}") from error
        return str(sock.getsockname()[0])


def _packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
