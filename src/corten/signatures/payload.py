"""The document that is signed: "simple signing"."""

from __future__ import annotations

import json

from corten.digest import Digest, is_digest
from corten.errors import InvalidParameter

MEDIA_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ARTIFACT_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
MAX_BYTES = 64 << 10
_KIND = "cosign container image signature"


class InvalidPayload(InvalidParameter):
    """The document says nothing about an image."""


def payload(name: str, digest: Digest) -> bytes:
    """The document for the image with this digest in the repository `name` (with its domain)."""
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": _KIND,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def digest_in(document: bytes) -> Digest:
    """The image's digest that a document speaks of. Raises InvalidPayload."""
    try:
        critical = json.loads(document)["critical"]
        kind, digest = critical["type"], critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise InvalidPayload(f"malformed signature payload: {e!r}") from e
    if kind != _KIND or not isinstance(digest, str) or not is_digest(digest):
        raise InvalidPayload("malformed signature payload")
    return Digest(digest)
