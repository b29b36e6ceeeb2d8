"""Content digests: `sha256:<64 hex digits>`.

    >>> short_id(digest_of(b""))
    'e3b0c44298fc'

Only sha256 names content in the store; sha512 is understood where others use it (registries).
Source: OCI image-spec, descriptor.md "Digests".
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

from corten.errors import CortenError, InvalidParameter

Digest = NewType("Digest", str)
"""A well-formed digest; made by `parse_digest`, `digest_of` or `from_hex` alone."""

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})", re.ASCII)


class InvalidDigest(InvalidParameter):
    """The text is no digest of a known algorithm."""


class DigestMismatch(CortenError):
    """Content is not what its name says."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"filesystem layer verification failed for digest {expected}")
        self.expected = expected
        self.actual = actual


def is_digest(text: str) -> bool:
    """Whether `text` is a complete, well-formed digest."""
    return _DIGEST.fullmatch(text) is not None


def parse_digest(text: str) -> Digest:
    """The digest written in `text`. Raises InvalidDigest."""
    if is_digest(text):
        return Digest(text)
    algorithm, separator, _ = text.partition(":")
    if not separator:
        raise InvalidDigest("invalid checksum digest format")
    if algorithm not in _HEX_LENGTH:
        raise InvalidDigest("unsupported digest algorithm")
    raise InvalidDigest("invalid checksum digest length")


def digest_of(data: bytes) -> Digest:
    """The sha256 digest of `data`."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def from_hex(hex_digits: str) -> Digest:
    """The sha256 digest with these 64 hex digits. Raises InvalidDigest."""
    return parse_digest(f"sha256:{hex_digits}")


def hex_of(digest: str) -> str:
    """The hex digits without the algorithm."""
    return digest.partition(":")[2] or digest


def algorithm_of(digest: str) -> str:
    """The algorithm's name, e.g. "sha256"."""
    return digest.partition(":")[0]


def short_id(digest: str) -> str:
    """The 12 hex digits that Docker prints."""
    return hex_of(digest)[:12]
