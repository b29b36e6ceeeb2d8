"""Netlink messages and attributes as bytes: build and parse, no I/O.

Sources: netlink(7); include/uapi/linux/netlink.h. Headers are in host byte order, everything is
padded to 4 bytes, an attribute's length counts its header but not its padding.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Buffer = bytes | memoryview

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_MIN_TYPE = 0x10

NLM_F_REQUEST = 0x01
NLM_F_MULTI = 0x02
NLM_F_ACK = 0x04
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port id
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
HEADER_SIZE = _HEADER.size
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class Message:
    """A parsed message: header fields and the payload (family header and attributes)."""

    __slots__ = ("flags", "kind", "payload", "sequence")

    def __init__(self, kind: int, flags: int, sequence: int, payload: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.sequence = sequence
        self.payload = payload


def message(kind: int, flags: int, payload: bytes) -> bytes:
    """One message; NLM_F_REQUEST is added. The socket numbers it (`stamp`) when it sends."""
    length = HEADER_SIZE + len(payload)
    header = _HEADER.pack(length, kind, flags | NLM_F_REQUEST, 0, 0)
    return header + payload + _PADDING[length & 3]


def stamp(message: bytes, sequence: int, flags: int = 0) -> bytes:
    """The message with this sequence number, and `flags` added to its own."""
    length, kind, present, _, port = _HEADER.unpack_from(message)
    return _HEADER.pack(length, kind, present | flags, sequence, port) + message[HEADER_SIZE:]


def attribute(kind: int, payload: Buffer) -> bytes:
    """One attribute with opaque payload. Raises ValueError beyond 65531 bytes."""
    length = 4 + len(payload)
    if length > 0xFFFF:
        raise ValueError(f"netlink attribute {kind} is too long: {len(payload)} bytes")
    return _ATTRIBUTE.pack(length, kind) + payload + _PADDING[length & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute whose payload is attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    """An attribute holding one byte."""
    return attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    """An attribute holding 16 bits in host byte order."""
    return attribute(kind, _U16.pack(value))


def u32(kind: int, value: int) -> bytes:
    """An attribute holding 32 bits in host byte order."""
    return attribute(kind, _U32.pack(value))


def text(kind: int, value: str) -> bytes:
    """An attribute holding a NUL-terminated string. Raises ValueError if it contains NUL itself."""
    if "\0" in value:
        raise ValueError("NUL in a netlink string")
    return attribute(kind, value.encode() + b"\0")


def read_u32(payload: Buffer) -> int:
    """The value of a 32-bit attribute. Raises ValueError if the size is wrong."""
    if len(payload) != 4:
        raise ValueError(f"expected 4 bytes, got {len(payload)}")
    value: int = _U32.unpack(payload)[0]
    return value


def read_text(payload: Buffer) -> str:
    """The value of a string attribute, without the NULs at its end."""
    return bytes(payload).rstrip(b"\0").decode("utf-8", "replace")


def iterate_messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises ValueError on a truncated or impossible one."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < HEADER_SIZE:
            raise ValueError("truncated netlink message header")
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < HEADER_SIZE or offset + length > end:
            raise ValueError(f"netlink message of {length} bytes in {end - offset}")
        yield Message(kind, flags, sequence, data[offset + HEADER_SIZE : offset + length])
        offset += (length + 3) & ~3


def iterate_attributes(data: Buffer, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type without flag bits, payload) of each attribute from `offset` on, in order.

    Raises ValueError on a truncated or impossible one.
    """
    view = memoryview(data)
    end = len(view)
    while offset < end:
        if end - offset < 4:
            raise ValueError("truncated netlink attribute header")
        length, kind = _ATTRIBUTE.unpack_from(view, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"netlink attribute of {length} bytes in {end - offset}")
        yield kind & NLA_TYPE_MASK, bytes(view[offset + 4 : offset + length])
        offset += (length + 3) & ~3


def attributes(data: Buffer, offset: int = 0) -> dict[int, bytes]:
    """The attributes from `offset` on by type; of repeated ones the last. Raises ValueError."""
    return dict(iterate_attributes(data, offset))
