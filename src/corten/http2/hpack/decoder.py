"""Blocks of header fields, decoded (RFC 7541, 3 and 6)."""

from __future__ import annotations

from corten.http2.hpack import huffman
from corten.http2.hpack.encoder import Fields
from corten.http2.hpack.statictable import STATIC

TABLE_SIZE = 4096
"""Of the dynamic table, which is what a peer may take for granted (RFC 9113, 6.5.2)."""

_OVERHEAD = 32  # bytes that an entry or a field counts for besides its own (RFC 7541, 4.1; RFC 9113, 6.5.2)
_STATIC = len(STATIC)
_MAX_SHIFT = 28  # integers have no more than 32 bits


class HPACKError(Exception):
    """A block that says nothing. The tables of the two ends differ from now on."""


class HeadersTooLarge(HPACKError):
    """A block that says too much."""


class Decoder:
    """One direction of one connection. `max_list`: bytes of fields in a block, as RFC 9113 counts them."""

    def __init__(self, max_list: int) -> None:
        self._max_list = max_list
        self._entries: list[tuple[bytes, bytes]] = []  # the newest last
        self._size = 0
        self._max_size = TABLE_SIZE

    def decode(self, block: bytes) -> Fields:
        """The fields. Raises HPACKError, HeadersTooLarge."""
        fields: Fields = []
        entries = self._entries
        at, end, room = 0, len(block), self._max_list
        try:
            while at < end:
                first = block[at]
                if first & 0x80:  # indexed
                    index, at = (first & 0x7F, at + 1) if first < 0xFF else _integer(block, at, 0x7F)
                    field = entries[_STATIC - index] if index > _STATIC else self._entry(index)
                elif first & 0x40:  # literal, to be remembered
                    field, at = self._literal(block, at, 0x3F)
                    self._remember(field)
                elif first & 0x20:
                    if fields:
                        raise HPACKError("a new size of the table amid the fields")
                    size, at = _integer(block, at, 0x1F)
                    self._resize(size)
                    continue
                else:  # literal, with or without leave to remember it elsewhere
                    field, at = self._literal(block, at, 0x0F)
                room -= len(field[0]) + len(field[1]) + _OVERHEAD
                if room < 0:
                    raise HeadersTooLarge(f"more than {self._max_list} bytes of header fields")
                fields.append(field)
        except IndexError:
            raise HPACKError("a block that is cut off, or refers to what is in no table") from None
        except ValueError as error:
            raise HPACKError(str(error)) from None
        return fields

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[tuple[bytes, bytes], int]:
        index = block[at] & mask
        index, at = (index, at + 1) if index < mask else _integer(block, at, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if not index:
            raise HPACKError("an entry that is in no table")
        return STATIC[index - 1] if index <= _STATIC else self._entries[_STATIC - index]

    def _remember(self, field: tuple[bytes, bytes]) -> None:
        self._entries.append(field)
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        if self._size > self._max_size:
            self._evict()

    def _resize(self, size: int) -> None:
        if size > TABLE_SIZE:
            raise HPACKError("a larger table than was offered")
        self._max_size = size
        self._evict()

    def _evict(self) -> None:
        while self._size > self._max_size:
            name, value = self._entries.pop(0)
            self._size -= len(name) + len(value) + _OVERHEAD


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The number that begins in the lower bits of a byte (RFC 7541, 5.1), and what comes after it."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > _MAX_SHIFT:
            raise HPACKError("an integer that is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    first = block[at]
    length = first & 0x7F
    length, at = (length, at + 1) if length < 0x7F else _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise HPACKError("a string that is cut off")
    data = block[at:end]
    return (huffman.decode(data) if first & 0x80 else data), end
