"""Whether a signature speaks of an image, and is good."""

from __future__ import annotations

from corten.digest import Digest
from corten.signatures.keys import PublicKey
from corten.signatures.payload import InvalidPayload, digest_in


def valid(key: PublicKey, digest: Digest, document: bytes, signature: bytes) -> bool:
    """Whether `signature` is the key's, of a document about the image with this digest."""
    try:
        return key.verifies(signature, document) and digest_in(document) == digest
    except InvalidPayload:
        return False
