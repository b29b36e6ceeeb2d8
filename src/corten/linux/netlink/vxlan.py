"""VXLAN tunnels and their forwarding tables by rtnetlink (RFC 7348).

Functions named after a change make a message for `NetlinkSocket.transact`; `forwarding` asks the kernel.
Sources: include/uapi/linux/{if_link,neighbour}.h; ip-link(8), bridge(8).
"""

from __future__ import annotations

import struct

from corten.linux.netlink import codec
from corten.linux.netlink.route import (
    IFF_UP,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.linux.netlink.socket import NetlinkSocket

EVERYBODY = bytes(6)  # frames whose MAC the tunnel does not know, and broadcasts, go to this entry's peers

_AF_BRIDGE = 7
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_INFO_SLAVE_KIND = 4
_IFLA_INFO_SLAVE_DATA = 5
_IFLA_BRPORT_NEIGH_SUPPRESS = 32
_IFLA_AF_SPEC = 26
_IFLA_INET6_ADDR_GEN_MODE = 8
_IN6_ADDR_GEN_MODE_NONE = 1
_AF_INET6 = 10
_IFLA_VXLAN_ID = 1
_IFLA_VXLAN_LOCAL = 4
_IFLA_VXLAN_LEARNING = 7
_IFLA_VXLAN_PORT = 15
_NDA_DST = 1
_NDA_LLADDR = 2
_NTF_SELF = 0x02  # the tunnel's table
_NTF_MASTER = 0x04  # the bridge's table
_NUD_NOARP = 0x40
_NUD_PERMANENT = 0x80

_LINK = struct.Struct("=BxHiII")
_NEIGHBOUR = struct.Struct("=BxHiHBB")  # family, link index, state, flags, type


def tunnel(name: str, *, vni: int, local: bytes, port: int, master: int, mtu: int) -> bytes:
    """Create a VXLAN link, up, as a port of the bridge `master` (link index).

    local: the packed address that others reach us at; port: UDP, of all the network's peers; mtu: bytes of
    a packet inside. It learns behind which peer a MAC is from what comes in.
    """
    data = codec.nested(
        _IFLA_INFO_DATA,
        codec.u32(_IFLA_VXLAN_ID, vni),
        codec.attribute(_IFLA_VXLAN_LOCAL, local),
        codec.u8(_IFLA_VXLAN_LEARNING, 1),
        codec.attribute(_IFLA_VXLAN_PORT, port.to_bytes(2, "big")),
    )
    body = codec.text(_IFLA_IFNAME, name) + codec.u32(_IFLA_MTU, mtu) + codec.u32(_IFLA_MASTER, master)
    body += codec.nested(_IFLA_LINKINFO, codec.text(_IFLA_INFO_KIND, "vxlan"), data)
    flags = codec.NLM_F_CREATE | codec.NLM_F_EXCL
    return codec.message(RTM_NEWLINK, flags, _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + body)


def quiet_port(name: str) -> bytes:
    """Have the bridge answer for neighbours it knows itself: neither questions for the bridge's own addresses
    nor such for entries of its neighbour table leave through this port. No link-local address for it."""
    body = codec.text(_IFLA_IFNAME, name) + codec.nested(
        _IFLA_LINKINFO,
        codec.text(_IFLA_INFO_SLAVE_KIND, "bridge"),
        codec.nested(_IFLA_INFO_SLAVE_DATA, codec.u8(_IFLA_BRPORT_NEIGH_SUPPRESS, 1)),
    )
    body += codec.nested(
        _IFLA_AF_SPEC, codec.nested(_AF_INET6, codec.u8(_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE))
    )
    return codec.message(RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + body)


def flood_to(index: int, peer: bytes) -> bytes:
    """Add a peer to those that get what the tunnel does not know the way of; harmless if it is there."""
    return codec.message(
        RTM_NEWNEIGH,
        codec.NLM_F_CREATE | codec.NLM_F_APPEND,
        _entry(index, _NUD_NOARP | _NUD_PERMANENT, _NTF_SELF, EVERYBODY, peer),
    )


def flood_no_more(index: int, peer: bytes) -> bytes:
    """Remove a peer from those. ENOENT if it is none of them."""
    return codec.message(RTM_DELNEIGH, 0, _entry(index, 0, _NTF_SELF, EVERYBODY, peer))


def station(index: int, mac: bytes, peer: bytes) -> list[bytes]:
    """Say behind which peer a MAC is, replacing what was learned, to tunnel and bridge."""
    flags = codec.NLM_F_CREATE | codec.NLM_F_REPLACE
    return [
        codec.message(RTM_NEWNEIGH, flags, _entry(index, _NUD_NOARP | _NUD_PERMANENT, _NTF_SELF, mac, peer)),
        codec.message(RTM_NEWNEIGH, flags, _entry(index, _NUD_NOARP, _NTF_MASTER, mac)),
    ]


def delete_station(index: int, mac: bytes) -> list[bytes]:
    """Undo `station`. ENOENT if there is none."""
    return [codec.message(RTM_DELNEIGH, 0, _entry(index, 0, flag, mac)) for flag in (_NTF_SELF, _NTF_MASTER)]


def forwarding(sock: NetlinkSocket, index: int) -> dict[bytes, set[bytes]]:
    """The tunnel's table: packed addresses of peers by MAC."""
    found: dict[bytes, set[bytes]] = {}
    for answer in sock.dump(RTM_GETNEIGH, _NEIGHBOUR.pack(_AF_BRIDGE, 0, 0, 0, 0, 0)):
        _, _, entry, _, _, _ = _NEIGHBOUR.unpack_from(answer.payload)
        attributes = codec.attributes(answer.payload, _NEIGHBOUR.size)
        if entry == index and _NDA_DST in attributes:
            found.setdefault(bytes(attributes[_NDA_LLADDR]), set()).add(bytes(attributes[_NDA_DST]))
    return found


def _entry(index: int, state: int, flags: int, mac: bytes, peer: bytes = b"") -> bytes:
    body = codec.attribute(_NDA_LLADDR, mac)
    if peer:
        body += codec.attribute(_NDA_DST, peer)
    return _NEIGHBOUR.pack(_AF_BRIDGE, 0, index, state, flags, 0) + body
