"""What registries have, and what is put there."""

from __future__ import annotations

import msgspec

from corten.types.document import Document, always
from corten.types.image import Descriptor, OCIPlatform
from corten.types.system import AuthConfig


class SearchResult(Document, kw_only=True, rename=str):
    """An item of GET /images/search; a registry's index answers the same form."""

    star_count: int = always(0)
    is_official: bool = always(False)
    name: str = always("")
    is_automated: bool = always(False)
    description: str = always("")


class CopyRequest(Document, kw_only=True):
    """Body of POST /distribution/{name}/copy: copy `source` to the name, with what refers to it if asked."""

    source: str
    source_auth: AuthConfig | None = None
    referrers: bool = False


class IndexMember(Document, kw_only=True):
    """An image in a new index: where it lies, and what the index says of it."""

    ref: str
    descriptor: Descriptor


class IndexRequest(Document, kw_only=True):
    """Body of POST /distribution/{name}/index."""

    manifests: list[IndexMember]


class Pushed(Document, kw_only=True):
    """What is in the registry now; size in bytes."""

    digest: str
    size: int


class Signature(Document, kw_only=True):
    """A signed document and its signature, both in base64."""

    payload: str
    signature: str


class ImageSignatures(Document, kw_only=True):
    """Answer of GET /images/{name}/signatures."""

    digest: str
    signatures: list[Signature] = always(msgspec.field(default_factory=list))


class DistributionInspect(Document, kw_only=True):
    """Answer of GET /distribution/{name}/json."""

    descriptor: Descriptor
    platforms: list[OCIPlatform]
