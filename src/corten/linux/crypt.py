"""Checking password hashes with the C library's crypt(3): bcrypt, yescrypt, sha512crypt.

Source: crypt(3), crypt(5) of libxcrypt.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hmac
from functools import cache

_DATA_SIZE = 32768  # sizeof(struct crypt_data), fixed by the ABI (crypt_rn(3))


@cache
def _crypt_rn() -> ctypes._NamedFuncPointer | None:
    for name in ("libcrypt.so.1", "libcrypt.so.2", ctypes.util.find_library("crypt")):
        if name is None:
            continue
        try:
            function = ctypes.CDLL(name).crypt_rn
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
        function.restype = ctypes.c_char_p
        return function
    return None


def is_available() -> bool:
    """Whether this machine's C library can check hashes."""
    return _crypt_rn() is not None


def password_matches(password: str, hashed: str) -> bool:
    """Whether `hashed` was made of the password. Slow on purpose; unknown kinds of hashes never match."""
    function = _crypt_rn()
    if function is None or "\0" in password:
        return False
    made: bytes | None = function(
        password.encode(), hashed.encode(), ctypes.create_string_buffer(_DATA_SIZE), _DATA_SIZE
    )
    return made is not None and hmac.compare_digest(made, hashed.encode())
