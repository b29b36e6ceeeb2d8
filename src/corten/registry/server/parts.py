"""What operations work with."""

from __future__ import annotations

from dataclasses import dataclass

from corten.digest import Digest, InvalidDigest, parse_digest
from corten.reference import is_tag
from corten.registry.server.errors import Refused
from corten.registry.server.messages import Request
from corten.registry.server.store import Store
from corten.registry.server.upstreams import Upstreams
from corten.registry.server.webhooks import Webhooks


@dataclass(slots=True, kw_only=True)
class Parts:
    """The registry behind its operations. upstreams, webhooks: None without any."""

    store: Store
    upstreams: Upstreams | None = None
    webhooks: Webhooks | None = None
    read_only: bool = False
    deletes: bool = True


@dataclass(slots=True)
class Call:
    """One operation asked for: `which` is the tag, digest or upload id of the path."""

    parts: Parts
    request: Request
    user: str
    repository: str
    which: str
    may_mount: bool = False

    @property
    def store(self) -> Store:
        """The content."""
        return self.parts.store

    @property
    def upstreams(self) -> Upstreams | None:
        """The registries behind, if this repository is theirs."""
        upstreams = self.parts.upstreams
        return upstreams if upstreams is not None and upstreams.serves(self.repository) else None

    @property
    def digest(self) -> Digest:
        """`which` as a digest. Raises Refused."""
        return digest_in(self.which)

    @property
    def reference(self) -> str:
        """`which` as a tag or digest. Raises Refused."""
        if ":" in self.which:
            return self.digest
        if not is_tag(self.which):
            raise Refused("TAG_INVALID", "manifest tag did not match URI")
        return self.which

    def tell(self, action: str, digest: str, media_type: str, size: int, tag: str = "") -> None:
        """Have the webhooks told."""
        if self.parts.webhooks is not None:
            self.parts.webhooks.tell(
                self.request, self.user, action, self.repository, digest, media_type, size, tag
            )


def digest_in(text: str) -> Digest:
    """A digest that a client gave. Raises Refused."""
    try:
        return parse_digest(text)
    except InvalidDigest as e:
        raise Refused("DIGEST_INVALID", str(e)) from e
