"""What nf_tables' `log group N` tells: beginnings of packets, with the rule's prefix.

Source: include/uapi/linux/netfilter/nfnetlink_log.h. The kernel gathers packets for up to a second.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

from corten.linux.netlink import codec, nfnetlink
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket

_SUBSYSTEM = 4  # NFNL_SUBSYS_ULOG
_PACKET, _CONFIG = 0, 1  # NFULNL_MSG_...
_CFG_CMD, _CFG_MODE = 1, 2  # NFULA_CFG_...
_BIND = b"\1"  # NFULNL_CFG_CMD_BIND
_COPY_PACKET = 2  # NFULNL_COPY_PACKET
_MODE = struct.Struct(">IBB")  # bytes to copy, mode, padding
_PAYLOAD, _PREFIX = 9, 10  # NFULA_...
_COPIED = 64  # bytes of each packet: an IPv6 header with the ports behind it


class PacketLog:
    """Listens to one log group in the caller's namespace. Raises OSError (EBUSY: somebody else does)."""

    def __init__(self, group: int) -> None:
        self._socket = NetlinkSocket(NETLINK_NETFILTER)
        try:
            for attribute in (
                codec.attribute(_CFG_CMD, _BIND),
                codec.attribute(_CFG_MODE, _MODE.pack(_COPIED, _COPY_PACKET, 0)),
            ):
                self._socket.transact([_config(group, attribute)])
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something in `packets`."""
        return self._socket.fileno()

    def packets(self) -> Iterator[tuple[str, bytes]]:
        """(prefix, beginning of the packet) of what has come; does not wait."""
        try:
            for message in self._socket.pending():
                if message.kind == _SUBSYSTEM << 8 | _PACKET:
                    found = codec.attributes(message.payload, nfnetlink.HEADER_SIZE)
                    yield codec.read_text(found.get(_PREFIX, b"")), found.get(_PAYLOAD, b"")
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # some were lost
                raise

    def close(self) -> None:
        """Listen no more; closing twice is harmless."""
        self._socket.close()


def _config(group: int, attribute: bytes) -> bytes:
    return nfnetlink.message(_SUBSYSTEM, _CONFIG, 0, 0, attribute, resource=group)
