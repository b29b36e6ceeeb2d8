"""NaCl's secretbox: XSalsa20 and Poly1305, for the few hundred bytes of a private key.

`cryptography` has Poly1305 but not Salsa20. Source: D. J. Bernstein, "Extending the Salsa20 nonce",
"Salsa20 specification"; nacl.cr.yp.to/secretbox.html.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

KEY_BYTES = 32
NONCE_BYTES = 24
_TAG_BYTES = 16
_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_MASK = 0xFFFFFFFF
_QUARTERS = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip


class WrongKey(ValueError):
    """The box was not closed with this key, or was tampered with."""


def seal(message: bytes, nonce: bytes, key: bytes) -> bytes:
    """Encrypt and authenticate."""
    stream = _keystream(len(message) + KEY_BYTES, nonce, key)
    sealed = bytes(a ^ b for a, b in zip(message, stream[KEY_BYTES:], strict=True))
    tag: bytes = Poly1305.generate_tag(stream[:KEY_BYTES], sealed)
    return tag + sealed


def unseal(box: bytes, nonce: bytes, key: bytes) -> bytes:
    """The message. Raises WrongKey."""
    tag, sealed = box[:_TAG_BYTES], box[_TAG_BYTES:]
    stream = _keystream(len(sealed) + KEY_BYTES, nonce, key)
    try:
        Poly1305.verify_tag(stream[:KEY_BYTES], sealed, tag)
    except InvalidSignature as e:
        raise WrongKey("wrong password or damaged key") from e
    return bytes(a ^ b for a, b in zip(sealed, stream[KEY_BYTES:], strict=True))


def _keystream(length: int, nonce: bytes, key: bytes) -> bytes:
    """XSalsa20: a subkey of the first 16 bytes of the nonce, then Salsa20 with the other 8."""
    mixed = _rounds(_state(key, nonce[:16]))
    subkey = struct.pack("<8I", *(mixed[n] for n in (0, 5, 10, 15, 6, 7, 8, 9)))
    blocks = []
    for counter in range(-(-length // 64)):
        state = _state(subkey, nonce[16:] + struct.pack("<Q", counter))
        mixed = _rounds(state)
        blocks.append(struct.pack("<16I", *((a + b) & _MASK for a, b in zip(mixed, state, strict=True))))
    return b"".join(blocks)[:length]


def _state(key: bytes, middle: bytes) -> list[int]:
    k, n = struct.unpack("<8I", key), struct.unpack("<4I", middle)
    return [_SIGMA[0], *k[:4], _SIGMA[1], *n, _SIGMA[2], *k[4:], _SIGMA[3]]


def _rounds(state: list[int]) -> list[int]:
    x = list(state)
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            x[b] ^= _rotated(x[a] + x[d], 7)
            x[c] ^= _rotated(x[b] + x[a], 9)
            x[d] ^= _rotated(x[c] + x[b], 13)
            x[a] ^= _rotated(x[d] + x[c], 18)
    return x


def _rotated(value: int, by: int) -> int:
    value &= _MASK
    return ((value << by) & _MASK) | (value >> (32 - by))
