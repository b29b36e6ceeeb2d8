"""nf_tables' notifications: whether a table may have been removed.

Source: include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h; socket filters: socket(7), bpf(4).
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys

from corten.linux.netlink import codec, nfnetlink
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket

_NFNLGRP_NFTABLES = 7
_NFT_MSG_GETTABLE = 1
_NFT_MSG_DELTABLE = 2
_NFT_MSG_NEWSETELEM = 12
_NFT_MSG_DELSETELEM = 14
_NFT_MSG_NEWGEN = 15
_NFTA_TABLE_NAME = 1

_SO_ATTACH_FILTER = 26
_LOAD_HALF = 0x28  # BPF_LD | BPF_H | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_TYPE_OFFSET = 4  # of nlmsg_type in struct nlmsghdr
_INSTRUCTION = struct.Struct("=HBBI")

_DELTABLE = nfnetlink.SUBSYSTEM_NFTABLES << 8 | _NFT_MSG_DELTABLE


class TableWatch:
    """Tells when a table of ours has been removed by somebody (`nft flush ruleset`).

    Wait until `fileno()` is readable, then ask `is_lost()`. Changes of elements, of which a busy engine
    makes thousands, do not wake the watcher.
    """

    def __init__(self) -> None:
        """Watch in the calling thread's network namespace; `add` says what. Raises OSError."""
        self._tables: set[tuple[int, str]] = set()
        self._events = NetlinkSocket(NETLINK_NETFILTER)
        self._questions = NetlinkSocket(NETLINK_NETFILTER)
        try:
            _ignore(self._events, (_NFT_MSG_NEWSETELEM, _NFT_MSG_DELSETELEM, _NFT_MSG_NEWGEN))
            self._events.subscribe(_NFNLGRP_NFTABLES)
        except BaseException:
            self.close()
            raise

    def add(self, family: int, table: str) -> None:
        """Watch a table that is there now. family: NFPROTO_...."""
        self._tables.add((family, table))

    def discard(self, family: int, table: str) -> None:
        """A table may go, or is not there; harmless if it was not watched."""
        self._tables.discard((family, table))

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._events.fileno()

    def is_lost(self) -> bool:
        """Take what has been notified; whether a table was deleted and has not come back since."""
        try:
            deleted = any(self._concerns(each) for each in self._events.pending())
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # notifications were lost, perhaps ours among them
                raise
            deleted = True
        return deleted and not all(self._exists(*each) for each in self._tables)

    def close(self) -> None:
        """Close the sockets; closing twice is harmless."""
        self._events.close()
        self._questions.close()

    def _concerns(self, message: codec.Message) -> bool:
        if message.kind != _DELTABLE:
            return False
        found = codec.attributes(message.payload, nfnetlink.HEADER_SIZE)
        return (message.payload[0], codec.read_text(found.get(_NFTA_TABLE_NAME, b""))) in self._tables

    def _exists(self, family: int, table: str) -> bool:
        name = codec.text(_NFTA_TABLE_NAME, table)
        question = nfnetlink.message(nfnetlink.SUBSYSTEM_NFTABLES, _NFT_MSG_GETTABLE, 0, family, name)
        try:
            self._questions.request(question)
        except FileNotFoundError:
            return False
        return True


def _ignore(sock: NetlinkSocket, kinds: tuple[int, ...]) -> None:
    """Have the kernel drop datagrams that begin with a message of these nf_tables types."""
    program = _INSTRUCTION.pack(_LOAD_HALF, 0, 0, _TYPE_OFFSET)
    for number, kind in enumerate(kinds):
        value = nfnetlink.SUBSYSTEM_NFTABLES << 8 | kind
        loaded = int.from_bytes(value.to_bytes(2, sys.byteorder), "big")  # BPF loads in network order
        program += _INSTRUCTION.pack(_JUMP_EQUAL, len(kinds) - number, 0, loaded)
    program += _INSTRUCTION.pack(_RETURN, 0, 0, 0xFFFFFFFF)
    program += _INSTRUCTION.pack(_RETURN, 0, 0, 0)
    buffer = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION.size
    sock.set_option(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(buffer)))
