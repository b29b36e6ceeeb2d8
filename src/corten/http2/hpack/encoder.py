"""Blocks of header fields, encoded without a dynamic table: the same fields always give the same bytes.

So nothing has to be kept for a connection, and blocks can be remembered. A table would save some bytes on a
socket that mostly is local.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from corten.http2.hpack.statictable import STATIC

Fields: TypeAlias = "list[tuple[bytes, bytes]]"
"""(name, value) in order; names in lower case."""

NO_TABLE = b"\x20"
"""Begins the first block of a connection: our table has no entries, whatever size the peer offers."""

_FIELDS = {field: number for number, field in reversed([*enumerate(STATIC, 1)])}
_NAMES = {field[0]: number for number, field in reversed([*enumerate(STATIC, 1)])}


def encode(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A block."""
    out = bytearray()
    for field in fields:
        number = _FIELDS.get(field)
        if number is not None:
            out.append(0x80 | number)  # 61 at most: one byte
            continue
        name, value = field
        number = _NAMES.get(name, 0)
        out += _integer(number, 0x0F)
        if not number:
            out += _integer(len(name), 0x7F)
            out += name
        out += _integer(len(value), 0x7F)
        out += value
    return bytes(out)


def _integer(value: int, mask: int) -> bytes:
    """RFC 7541, 5.1; the bits above the mask are 0."""
    if value < mask:
        return bytes((value,))
    out = bytearray((mask,))
    value -= mask
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
