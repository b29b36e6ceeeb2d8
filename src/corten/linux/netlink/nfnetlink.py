"""What the netfilter subsystems share: message headers and batches that happen as a whole.

Source: include/uapi/linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import struct

from corten.linux.netlink import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.linux.netlink.socket import NetlinkSocket

SUBSYSTEM_CONNTRACK = 1
SUBSYSTEM_NFTABLES = 10

NFPROTO_INET = 1
NFPROTO_IPV4 = 2
NFPROTO_BRIDGE = 7
NFPROTO_IPV6 = 10

_BATCH_BEGIN = codec.NLMSG_MIN_TYPE
_BATCH_END = codec.NLMSG_MIN_TYPE + 1
_HEADER = struct.Struct(">BBH")  # family, version 0, resource id
HEADER_SIZE = _HEADER.size


def message(
    subsystem: int, kind: int, flags: int, family: int, attributes: bytes, *, resource: int = 0
) -> bytes:
    """A message to one subsystem about one protocol family (NFPROTO_...)."""
    return codec.message(subsystem << 8 | kind, flags, _HEADER.pack(family, 0, resource) + attributes)


def commit(sock: NetlinkSocket, messages: Sequence[bytes]) -> None:
    """Have nf_tables do all the messages in one transaction, or none. Raises OSError of the first refused."""
    if messages:
        sock.commit([_BEGIN, *messages, _END])


_NFTABLES = _HEADER.pack(0, 0, SUBSYSTEM_NFTABLES)
_BEGIN = codec.message(_BATCH_BEGIN, 0, _NFTABLES)
_END = codec.message(_BATCH_END, 0, _NFTABLES)
