"""Huffman-coded strings of HPACK (RFC 7541, 5.2 and Appendix B), decoded by a table, half a byte at a time.

The code is canonical: its lengths are enough to know it.
"""

from __future__ import annotations

from functools import lru_cache

_SYMBOLS = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\0$@[]~",
    14: b"^}",
    15: b"<`{",
    19: bytes.fromhex("5cc3d0"),
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("818485868892 9a9ca0a3a4a9aaadb2b5b9babbbdbec4c6e4e8e9"),
    23: bytes.fromhex("018789 8a8b8c8d8f93959697989b9d9ea5a6a8aeafb4b6b7bcbfc5e7ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4d6dddedff1f4f5f6f7f8fafbfcfdfe"),
    28: bytes.fromhex("020304050607080b0c0e0f1011121314151718191a1b1c1d1e1f7fdcf9"),
    30: b"\n\r\x16",
}
"""Bytes by the number of bits of their codes, in the order of the codes; the last code of all is no byte."""

_State = int  # a node, as the place of its first half byte in the table
_CACHED = 256  # bytes of a string that is remembered


def _tree() -> list[list[int]]:
    """Nodes of two branches each: another node, or ~symbol, or 0 where only the end of a string may lead."""
    nodes = [[0, 0]]
    code = length = 0
    for bits, symbols in _SYMBOLS.items():
        for symbol in symbols:
            code <<= bits - length
            length = bits
            node = 0
            for position in range(bits - 1, 0, -1):
                branch = code >> position & 1
                if not nodes[node][branch]:
                    nodes.append([0, 0])
                    nodes[node][branch] = len(nodes) - 1
                node = nodes[node][branch]
            nodes[node][code & 1] = ~symbol
            code += 1
    return nodes


def _table() -> tuple[list[tuple[_State, bytes]], _State, frozenset[_State]]:
    """By node and half byte: the next node and what has been decoded.

    The state that no code leads to, and those at which a string may end.
    """
    nodes = _tree()
    dead = len(nodes)
    table = [_step(nodes, node, nibble) for node in range(dead) for nibble in range(16)]
    table += [(dead << 4, b"")] * 16
    ends, node = {0}, 0
    for _ in range(7):  # padding is less than a byte of ones, which begin the code that is no byte's
        node = nodes[node][1]
        ends.add(node << 4)
    return table, dead << 4, frozenset(ends)


def _step(nodes: list[list[int]], node: int, nibble: int) -> tuple[_State, bytes]:
    found = b""
    for position in (3, 2, 1, 0):
        branch = nodes[node][nibble >> position & 1]
        if branch == 0:
            return len(nodes) << 4, b""
        if branch < 0:
            found += bytes((~branch,))
            branch = 0
        node = branch
    return node << 4, found


_NEXT, _DEAD, _ENDS = _table()


def decode(data: bytes) -> bytes:
    """The string. Raises ValueError for what is no code and for wrong padding."""
    return _decode_known(data) if len(data) <= _CACHED else _decode(data)


def _decode(data: bytes) -> bytes:
    table = _NEXT
    state = 0
    found = bytearray()
    for byte in data:
        state, some = table[state + (byte >> 4)]
        found += some
        state, some = table[state + (byte & 15)]
        found += some
    if state == _DEAD:
        raise ValueError("no code of Huffman's")
    if state not in _ENDS:
        raise ValueError("wrong padding of a Huffman-coded string")
    return bytes(found)


_decode_known = lru_cache(maxsize=512)(_decode)  # every client says nearly the same
