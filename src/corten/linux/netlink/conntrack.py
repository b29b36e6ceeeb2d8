"""Make the kernel forget tracked connections (conntrack), so that new rules apply to them.

A UDP client that keeps sending refreshes its entry for ever, and NAT is decided only at an entry's
first packet. Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h; filters need Linux 5.8.
"""

from __future__ import annotations

import errno

from corten.linux.netlink import codec, nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.linux.netlink.socket import NetlinkSocket

_IPCTNL_MSG_CT_GET = 1
_IPCTNL_MSG_CT_DELETE = 2
_LIST = nfnetlink.SUBSYSTEM_CONNTRACK << 8 | _IPCTNL_MSG_CT_GET
_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_REPLY = 2
_CTA_TUPLE_IP = 1
_CTA_TUPLE_PROTO = 2
_CTA_IP_V4_SRC = 1
_CTA_IP_V4_DST = 2
_CTA_IP_V6_SRC = 3
_CTA_IP_V6_DST = 4
_CTA_PROTO_NUM = 1
_CTA_PROTO_DST_PORT = 3
_CTA_FILTER = 25
_CTA_FILTER_ORIG_FLAGS = 1
_CTA_FILTER_REPLY_FLAGS = 2
_BY_IP_SRC = 1
_BY_IP_DST = 1 << 1
_BY_PROTO_NUM = 1 << 3
_BY_PROTO_DST_PORT = 1 << 5


def forget(sock: NetlinkSocket, family: int, protocol: int, port: int, packed: bytes = b"") -> None:
    """Drop the connections of an IP protocol whose first packet went to `port` (of address `packed`).

    `sock`: a NETLINK_NETFILTER socket; family: NFPROTO_IPV4 or NFPROTO_IPV6. Walks the whole table.
    Raises OSError.
    """
    kind = _CTA_IP_V4_DST if family == nfnetlink.NFPROTO_IPV4 else _CTA_IP_V6_DST
    where = codec.u8(_CTA_PROTO_NUM, protocol) + codec.attribute(_CTA_PROTO_DST_PORT, port.to_bytes(2, "big"))
    tuple_fields = codec.nested(_CTA_TUPLE_PROTO, where)
    flags = _BY_PROTO_NUM | _BY_PROTO_DST_PORT
    if packed:
        tuple_fields = codec.nested(_CTA_TUPLE_IP, codec.attribute(kind, packed)) + tuple_fields
        flags |= _BY_IP_DST
    _delete(sock, family, _CTA_TUPLE_ORIG, tuple_fields, _CTA_FILTER_ORIG_FLAGS, flags)


def forget_address(sock: NetlinkSocket, family: int, packed: bytes) -> None:
    """Drop the connections that the address `packed` has begun, or others with it. As `forget`."""
    kind = _CTA_IP_V4_SRC if family == nfnetlink.NFPROTO_IPV4 else _CTA_IP_V6_SRC
    source = codec.nested(_CTA_TUPLE_IP, codec.attribute(kind, packed))
    _delete(sock, family, _CTA_TUPLE_ORIG, source, _CTA_FILTER_ORIG_FLAGS, _BY_IP_SRC)
    _delete(sock, family, _CTA_TUPLE_REPLY, source, _CTA_FILTER_REPLY_FLAGS, _BY_IP_SRC)


def _delete(
    sock: NetlinkSocket, family: int, direction: int, fields: bytes, filter_kind: int, flags: int
) -> None:
    wanted = codec.nested(direction, fields) + codec.nested(_CTA_FILTER, codec.u32(filter_kind, flags))
    try:
        sock.transact([_deletion(family, wanted)])
    except OSError:  # kernels that know filters when they list, but not yet when they delete (6.1)
        listed = sock.dump(_LIST, bytes((family, 0, 0, 0)) + wanted)
        found = (codec.attributes(each.payload, nfnetlink.HEADER_SIZE) for each in listed)
        deletions = [
            _deletion(family, codec.nested(_CTA_TUPLE_ORIG, each[_CTA_TUPLE_ORIG])) for each in found
        ]
        sock.transact(deletions, tolerate=(errno.ENOENT,))


def _deletion(family: int, attributes: bytes) -> bytes:
    return nfnetlink.message(nfnetlink.SUBSYSTEM_CONNTRACK, _IPCTNL_MSG_CT_DELETE, 0, family, attributes)
