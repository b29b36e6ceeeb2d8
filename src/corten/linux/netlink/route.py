"""Links, addresses and routes by rtnetlink.

The functions named after a change (`bridge`, `veth`, `address`, ...) make a message; several go to
`NetlinkSocket.transact` as one batch. The others ask the kernel.
Sources: rtnetlink(7); include/uapi/linux/{rtnetlink,if_link,if_addr,if_bridge}.h.

Addresses are packed bytes (4 for IPv4, 16 for IPv6) as inet_pton(3) makes them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from corten.linux.netlink import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.linux.netlink.socket import NetlinkSocket

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30

AF_UNSPEC = 0
AF_INET = 2
AF_INET6 = 10

IFF_UP = 1
LOOPBACK_INDEX = 1  # the first link of every network namespace is lo

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_AF_SPEC = 26
_IFLA_NET_NS_FD = 28
_IFLA_EXT_MASK = 29
_IFLA_NUM_TX_QUEUES = 31
_IFLA_NUM_RX_QUEUES = 32
_RTEXT_FILTER_SKIP_STATS = 8
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_INFO_SLAVE_KIND = 4
_IFLA_INFO_SLAVE_DATA = 5
_IFLA_BR_NF_CALL_IPTABLES = 36
_IFLA_BRPORT_MODE = 4  # hairpin
_IFLA_BRPORT_ISOLATED = 33
_IFLA_INET6_ADDR_GEN_MODE = 8
_IN6_ADDR_GEN_MODE_NONE = 1
_VETH_INFO_PEER = 1
_IFLA_MACVLAN_MODE = 1
_IFLA_IPVLAN_MODE = 1
_IFLA_IPVLAN_FLAGS = 2
_IFLA_VLAN_ID = 1

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02

_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_TABLE = 15
_RT_TABLE_MAIN = 254
_RTPROT_BOOT = 3
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_RT_SCOPE_NOWHERE = 255
_RTN_UNICAST = 1

_NDA_DST = 1
_NDA_LLADDR = 2
_NUD_PERMANENT = 0x80

_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change mask
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, link index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, protocol, scope, type, flags
_NEIGHBOUR = struct.Struct("=BxHiHBB")  # family, link index, state, flags, type

_SIOCGIFINDEX = 0x8933
_IFREQ = struct.Struct("=16si20x")

_NEW = codec.NLM_F_CREATE | codec.NLM_F_EXCL
_NO_LINK_LOCAL = codec.nested(
    _IFLA_AF_SPEC, codec.nested(AF_INET6, codec.u8(_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE))
)
# By default a veth has a queue per CPU, each with its directories in sysfs: 100 us on 2 CPUs. They only
# matter for XDP; the transmit path takes no lock.
_ONE_QUEUE = codec.u32(_IFLA_NUM_TX_QUEUES, 1) + codec.u32(_IFLA_NUM_RX_QUEUES, 1)


class Link:
    """What the kernel says of a link. `mac` has the form 02:42:ac:11:00:02."""

    __slots__ = ("index", "is_up", "kind", "mac", "master", "mtu", "name")

    def __init__(self, message: codec.Message) -> None:
        _, _, self.index, flags, _ = _LINK.unpack_from(message.payload)
        found = codec.attributes(message.payload, _LINK.size)
        info = codec.attributes(found.get(_IFLA_LINKINFO, b""))
        self.name = codec.read_text(found.get(_IFLA_IFNAME, b""))
        self.mac = found.get(_IFLA_ADDRESS, b"").hex(":")
        self.mtu = codec.read_u32(found[_IFLA_MTU]) if _IFLA_MTU in found else 0
        self.master = codec.read_u32(found[_IFLA_MASTER]) if _IFLA_MASTER in found else 0
        self.kind = codec.read_text(info.get(_IFLA_INFO_KIND, b""))
        self.is_up = bool(flags & IFF_UP)


class Address:
    """An address on a link: packed bytes and the length of its prefix in bits."""

    __slots__ = ("link_index", "packed", "prefix_length")

    def __init__(self, message: codec.Message) -> None:
        _, self.prefix_length, _, _, self.link_index = _ADDRESS.unpack_from(message.payload)
        found = codec.attributes(message.payload, _ADDRESS.size)
        self.packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")


class Route:
    """A route of the main table. `destination` is b"" for a default route; `gateway` b"" if on link."""

    __slots__ = ("destination", "family", "gateway", "link_index", "metric", "prefix_length", "table")

    def __init__(self, message: codec.Message) -> None:
        fields = _ROUTE.unpack_from(message.payload)
        found = codec.attributes(message.payload, _ROUTE.size)
        self.family, self.prefix_length = fields[0], fields[1]
        self.table = codec.read_u32(found[_RTA_TABLE]) if _RTA_TABLE in found else fields[4]
        self.destination = found.get(_RTA_DST, b"")
        self.gateway = found.get(_RTA_GATEWAY, b"")
        self.link_index = codec.read_u32(found[_RTA_OIF]) if _RTA_OIF in found else 0
        self.metric = codec.read_u32(found[_RTA_PRIORITY]) if _RTA_PRIORITY in found else 0


# -- messages -----------------------------------------------------------------------------------


def bridge(name: str, *, mac: bytes, mtu: int) -> bytes:
    """Create a bridge, up. A fixed MAC keeps it from changing with every port that comes and goes."""
    return codec.message(
        RTM_NEWLINK,
        _NEW,
        _LINK.pack(0, 0, 0, IFF_UP, IFF_UP)
        + codec.text(_IFLA_IFNAME, name)
        + codec.attribute(_IFLA_ADDRESS, mac)
        + codec.u32(_IFLA_MTU, mtu)
        + codec.nested(_IFLA_LINKINFO, codec.text(_IFLA_INFO_KIND, "bridge")),
    )


def veth(
    name: str,
    peer: str,
    *,
    master: int,
    peer_netns_fd: int,
    mtu: int,
    peer_mac: bytes = b"",
) -> bytes:
    """Create a veth pair: `name` here, up, port of bridge `master`; `peer` there, down.

    master: link index, 0 for none.
    """
    inside = (
        _LINK.pack(0, 0, 0, 0, 0)
        + codec.text(_IFLA_IFNAME, peer)
        + codec.u32(_IFLA_MTU, mtu)
        + codec.u32(_IFLA_NET_NS_FD, peer_netns_fd)
        + _ONE_QUEUE
    )
    if peer_mac:
        inside += codec.attribute(_IFLA_ADDRESS, peer_mac)
    body = codec.text(_IFLA_IFNAME, name) + codec.u32(_IFLA_MTU, mtu) + _ONE_QUEUE
    if master:
        body += codec.u32(_IFLA_MASTER, master)
    body += codec.nested(
        _IFLA_LINKINFO,
        codec.text(_IFLA_INFO_KIND, "veth"),
        codec.nested(_IFLA_INFO_DATA, codec.attribute(_VETH_INFO_PEER, inside)),
    )
    return codec.message(RTM_NEWLINK, _NEW, _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + body)


def set_link(
    index: int = 0,
    *,
    name: str = "",
    up: bool | None = None,
    mac: bytes = b"",
    mtu: int = 0,
    master: int | None = None,
    new_name: str = "",
    link_local: bool = True,
) -> bytes:
    """Change a link found by `index` or else by `name`; what is not given stays as it is.

    `link_local=False`: no IPv6 link-local address is generated when the link comes up.
    `master=0` frees it from its bridge.
    """
    body = b""
    if name and not index:
        body += codec.text(_IFLA_IFNAME, name)
    if new_name:
        body += codec.text(_IFLA_IFNAME, new_name)
    if mac:
        body += codec.attribute(_IFLA_ADDRESS, mac)
    if mtu:
        body += codec.u32(_IFLA_MTU, mtu)
    if master is not None:
        body += codec.u32(_IFLA_MASTER, master)
    if not link_local:
        body += _NO_LINK_LOCAL
    change = 0 if up is None else IFF_UP
    header = _LINK.pack(0, 0, index, IFF_UP if up else 0, change)
    return codec.message(RTM_NEWLINK, 0, header + body)


def move_link(index: int, new_name: str, netns_fd: int) -> bytes:
    """Move a link into another namespace under another name. It goes down."""
    body = codec.text(_IFLA_IFNAME, new_name) + codec.u32(_IFLA_NET_NS_FD, netns_fd)
    return codec.message(RTM_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + body)


def bridge_port(name: str, *, hairpin: bool, isolated: bool) -> bytes:
    """Set up a bridge's port (bridge(8)), and keep IPv6 link-local addresses off it.

    hairpin: a frame may leave through the port it came from; isolated: no frames to isolated ports.
    """
    data = codec.u8(_IFLA_BRPORT_MODE, hairpin) + codec.u8(_IFLA_BRPORT_ISOLATED, isolated)
    body = codec.text(_IFLA_IFNAME, name) + codec.nested(
        _IFLA_LINKINFO,
        codec.text(_IFLA_INFO_SLAVE_KIND, "bridge"),
        codec.nested(_IFLA_INFO_SLAVE_DATA, data),
    )
    return codec.message(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + body + _NO_LINK_LOCAL)


def filter_bridged(name: str) -> bytes:
    """Have packets that a bridge passes from port to port go through nf_tables' ip hooks.

    Whatever net.bridge.bridge-nf-call-iptables says; needs the module br_netfilter.
    """
    body = codec.text(_IFLA_IFNAME, name) + codec.nested(
        _IFLA_LINKINFO,
        codec.text(_IFLA_INFO_KIND, "bridge"),
        codec.nested(_IFLA_INFO_DATA, codec.u8(_IFLA_BR_NF_CALL_IPTABLES, 1)),
    )
    return codec.message(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + body)


def macvlan(name: str, *, parent: int, netns_fd: int, mode: int, mac: bytes = b"", mtu: int = 0) -> bytes:
    """Create a macvlan link on `parent` (link index) in another namespace. mode: MACVLAN_MODES."""
    data = codec.nested(_IFLA_INFO_DATA, codec.u32(_IFLA_MACVLAN_MODE, mode))
    return _upon("macvlan", name, parent=parent, netns_fd=netns_fd, data=data, mac=mac, mtu=mtu)


def ipvlan(name: str, *, parent: int, netns_fd: int, mode: int, flag: int = 0, mtu: int = 0) -> bytes:
    """Create an ipvlan link on `parent` (link index) in another namespace. IPVLAN_MODES, IPVLAN_FLAGS."""
    data = codec.nested(
        _IFLA_INFO_DATA, codec.u16(_IFLA_IPVLAN_MODE, mode), codec.u16(_IFLA_IPVLAN_FLAGS, flag)
    )
    return _upon("ipvlan", name, parent=parent, netns_fd=netns_fd, data=data, mtu=mtu)


def vlan(name: str, *, parent: int, number: int) -> bytes:
    """Create a VLAN sub-interface (802.1Q) on `parent`, up."""
    data = codec.nested(_IFLA_INFO_DATA, codec.u16(_IFLA_VLAN_ID, number))
    return _upon("vlan", name, parent=parent, data=data, flags=IFF_UP)


def dummy(name: str) -> bytes:
    """Create a dummy link, up: a parent for macvlan and ipvlan that leads nowhere."""
    return _upon("dummy", name, flags=IFF_UP)


def _upon(
    kind: str,
    name: str,
    *,
    parent: int = 0,
    netns_fd: int = -1,
    data: bytes = b"",
    mac: bytes = b"",
    mtu: int = 0,
    flags: int = 0,
) -> bytes:
    body = codec.text(_IFLA_IFNAME, name)
    if parent:
        body += codec.u32(_IFLA_LINK, parent)
    if netns_fd >= 0:
        body += codec.u32(_IFLA_NET_NS_FD, netns_fd)
    if mac:
        body += codec.attribute(_IFLA_ADDRESS, mac)
    if mtu:
        body += codec.u32(_IFLA_MTU, mtu)
    body += codec.nested(_IFLA_LINKINFO, codec.text(_IFLA_INFO_KIND, kind), data)
    return codec.message(RTM_NEWLINK, _NEW, _LINK.pack(0, 0, 0, flags, flags) + body)


def delete_link(*, index: int = 0, name: str = "") -> bytes:
    """Delete a link found by `index` or else by `name`."""
    body = b"" if index else codec.text(_IFLA_IFNAME, name)
    return codec.message(RTM_DELLINK, 0, _LINK.pack(0, 0, index, 0, 0) + body)


def address(link_index: int, packed: bytes, prefix_length: int) -> bytes:
    """Add an address. IPv6 addresses are usable at once (no duplicate address detection)."""
    header = _ADDRESS.pack(_family(packed), prefix_length, 0, 0, link_index)
    body = codec.attribute(_IFA_LOCAL, packed) + codec.attribute(_IFA_ADDRESS, packed)
    if len(packed) == 16:
        body += codec.u32(_IFA_FLAGS, _IFA_F_NODAD)
    return codec.message(RTM_NEWADDR, _NEW, header + body)


def delete_address(link_index: int, packed: bytes, prefix_length: int) -> bytes:
    """Remove an address."""
    header = _ADDRESS.pack(_family(packed), prefix_length, 0, 0, link_index)
    return codec.message(RTM_DELADDR, 0, header + codec.attribute(_IFA_LOCAL, packed))


def route(link_index: int, *, destination: bytes, prefix_length: int, gateway: bytes = b"") -> bytes:
    """Add a route to `destination`/`prefix_length` through the link, by `gateway` or directly."""
    scope = _RT_SCOPE_UNIVERSE if gateway else _RT_SCOPE_LINK
    header = _ROUTE.pack(
        _family(destination), prefix_length, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0
    )
    body = codec.attribute(_RTA_DST, destination) if prefix_length else b""
    if gateway:
        body += codec.attribute(_RTA_GATEWAY, gateway)
    return codec.message(RTM_NEWROUTE, _NEW, header + body + codec.u32(_RTA_OIF, link_index))


def default_route(link_index: int, gateway: bytes) -> bytes:
    """Add the default route of the gateway's family."""
    return route(link_index, destination=bytes(len(gateway)), prefix_length=0, gateway=gateway)


def delete_default_route(family: int) -> bytes:
    """Remove a default route of the family. ESRCH if there is none."""
    header = _ROUTE.pack(family, 0, 0, 0, _RT_TABLE_MAIN, 0, _RT_SCOPE_NOWHERE, 0, 0)
    return codec.message(RTM_DELROUTE, 0, header)


def neighbour(link_index: int, packed: bytes, mac: bytes) -> bytes:
    """Set a permanent neighbour (ARP or NDP) entry, replacing what is there."""
    header = _NEIGHBOUR.pack(_family(packed), 0, link_index, _NUD_PERMANENT, 0, 0)
    body = codec.attribute(_NDA_DST, packed) + codec.attribute(_NDA_LLADDR, mac)
    return codec.message(RTM_NEWNEIGH, codec.NLM_F_CREATE | codec.NLM_F_REPLACE, header + body)


def delete_neighbour(link_index: int, packed: bytes) -> bytes:
    """Remove a neighbour entry."""
    header = _NEIGHBOUR.pack(_family(packed), 0, link_index, 0, 0, 0)
    return codec.message(RTM_DELNEIGH, 0, header + codec.attribute(_NDA_DST, packed))


# -- questions ----------------------------------------------------------------------------------


def link_index(sock: NetlinkSocket, name: str) -> int:
    """The index of a link in the socket's namespace (netdevice(7), SIOCGIFINDEX): 1 us, where asking
    by RTM_GETLINK takes 40. Raises OSError(ENODEV).
    """
    try:
        answer = fcntl.ioctl(sock.fileno(), _SIOCGIFINDEX, _IFREQ.pack(name.encode(), 0))
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or errno.EIO), name) from error
    index: int = _IFREQ.unpack(answer)[1]
    return index


def get_link(sock: NetlinkSocket, name: str) -> Link:
    """The link of this name. Raises OSError(ENODEV)."""
    body = codec.text(_IFLA_IFNAME, name) + codec.u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    request = codec.message(RTM_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + body)
    try:
        return Link(sock.request(request))
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or errno.EIO), name) from error


def settle(sock: NetlinkSocket, *, index: int = 0, name: str = "") -> None:
    """Have the kernel finish a change of carrier, which it does in the background otherwise.

    Until then a link that is up drops what is sent through it, and ARP tries again after a second.
    RTM_GETLINK does that since Linux 6.8 (linkwatch_sync_dev); before, this does nothing.
    """
    body = b"" if index else codec.text(_IFLA_IFNAME, name)
    mask = codec.u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    sock.request(codec.message(RTM_GETLINK, 0, _LINK.pack(0, 0, index, 0, 0) + body + mask))


def find_link(sock: NetlinkSocket, name: str) -> Link | None:
    """The link of this name, or None."""
    try:
        return get_link(sock, name)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def links(sock: NetlinkSocket) -> list[Link]:
    """All links of the namespace."""
    mask = codec.u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    return [Link(answer) for answer in sock.dump(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + mask)]


def addresses(sock: NetlinkSocket, family: int = AF_UNSPEC) -> list[Address]:
    """All addresses of a family (or of both) in the namespace."""
    return [Address(answer) for answer in sock.dump(RTM_GETADDR, _ADDRESS.pack(family, 0, 0, 0, 0))]


def routes(sock: NetlinkSocket, family: int = AF_INET) -> list[Route]:
    """The unicast routes of the main table."""
    header = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    found = [Route(answer) for answer in sock.dump(RTM_GETROUTE, header) if answer.payload[7] == _RTN_UNICAST]
    return [each for each in found if each.table == _RT_TABLE_MAIN]


def find_default_route(sock: NetlinkSocket, family: int = AF_INET) -> Route | None:
    """The default route with the lowest metric, or None."""
    defaults = [each for each in routes(sock, family) if each.prefix_length == 0 and each.link_index]
    return min(defaults, key=lambda each: each.metric, default=None)


def find_default_link(sock: NetlinkSocket, family: int = AF_INET) -> Link | None:
    """The link of the default route, or None if there is no such route."""
    default = find_default_route(sock, family)
    if default is None:
        return None
    return next((each for each in links(sock) if each.index == default.link_index), None)


def _family(packed: bytes) -> int:
    if len(packed) == 4:
        return AF_INET
    if len(packed) == 16:
        return AF_INET6
    raise OSError(errno.EINVAL, "not a packed IP address", packed.hex())
