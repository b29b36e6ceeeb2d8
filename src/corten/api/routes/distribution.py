"""What registries have: images that are not here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from corten.api import answers
from corten.api.request import Request
from corten.api.response import NO_CONTENT, Answer
from corten.api.routes.credentials import registry_auth
from corten.api.routes.images import TAR, oci_platform
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.platforms import Platform
from corten.types.distribution import (
    CopyRequest,
    DistributionInspect,
    ImageSignatures,
    IndexMember,
    IndexRequest,
    Pushed,
    SearchResult,
    Signature,
)
from corten.types.system import AuthConfig

_DEFAULT_LIMIT = 25
_MOST = 100


class Distribution(Protocol):
    """Registries as the engine reaches them. All raise RegistryError."""

    async def inspect(self, reference: str, auth: AuthConfig | None) -> DistributionInspect:
        """Digest and platforms of an image in its registry."""

    async def signatures(self, reference: str, auth: AuthConfig | None) -> ImageSignatures:
        """The signatures that an image has in its registry."""

    async def add_signature(self, reference: str, signature: Signature, auth: AuthConfig | None) -> None:
        """Attach one. Raises InvalidParameter if it is about another image."""

    async def manifest(self, reference: str, auth: AuthConfig | None) -> tuple[bytes, str]:
        """An image's manifest or index, and its media type (Corten's own)."""

    async def copy(
        self,
        target: str,
        source: str,
        *,
        platform: Platform | None,
        auth: AuthConfig | None,
        source_auth: AuthConfig | None,
        referrers: bool,
    ) -> Pushed:
        """Copy an image, or an index with all its images, to another registry or name (Corten's own).

        platform: of an index, the image for it alone. referrers: with all that refers to it there.
        """

    async def receive_archive(
        self,
        target: str,
        body: AsyncIterator[bytes],
        *,
        name: str,
        platform: Platform | None,
        auth: AuthConfig | None,
    ) -> Pushed:
        """As `copy`, out of an archive (its image `name`; "": its only one) (Corten's own)."""

    def send_archive(
        self, source: str, *, name: str, platform: Platform | None, auth: AuthConfig | None
    ) -> AsyncIterator[bytes]:
        """As `copy`, into an archive, in which it is called `name` if that is not "" (Corten's own)."""

    def convert_archive(
        self, body: AsyncIterator[bytes], *, source: str, name: str, platform: Platform | None
    ) -> AsyncIterator[bytes]:
        """As `copy`, of an archive's image `source` into another archive, as `name` (Corten's own)."""

    async def push_index(
        self, target: str, members: Sequence[IndexMember], auth: AuthConfig | None
    ) -> Pushed:
        """Make an index of images of the same registry (Corten's own)."""

    async def search(
        self, term: str, *, limit: int, filters: Filters, auth: AuthConfig | None
    ) -> Sequence[SearchResult]:
        """What a registry's index finds (filters: is-automated, is-official, stars)."""


class DistributionHandlers:
    """HTTP of registries' contents."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution

    async def inspect(self, request: Request) -> Answer:
        """GET /distribution/{name}/json."""
        found = await self._distribution.inspect(request.params[0], registry_auth(request))
        return answers.document(request, found)

    async def signatures(self, request: Request) -> Answer:
        """GET /images/{name}/signatures, which Docker has not."""
        found = await self._distribution.signatures(request.params[0], registry_auth(request))
        return answers.document(request, found)

    async def add_signature(self, request: Request) -> Answer:
        """POST /images/{name}/signatures, which Docker has not."""
        signature = await request.json(Signature)
        await self._distribution.add_signature(request.params[0], signature, registry_auth(request))
        return NO_CONTENT

    async def manifest(self, request: Request) -> Answer:
        """GET /distribution/{name}/manifest."""
        raw, media_type = await self._distribution.manifest(request.params[0], registry_auth(request))
        return Answer(200, raw, media_type.encode("latin-1", "replace"))

    async def copy(self, request: Request) -> Answer:
        """POST /distribution/{name}/copy."""
        body = await request.json(CopyRequest)
        pushed = await self._distribution.copy(
            request.params[0],
            body.source,
            platform=oci_platform(request),
            auth=registry_auth(request),
            source_auth=body.source_auth,
            referrers=body.referrers,
        )
        return answers.document(request, pushed, 201)

    async def receive_archive(self, request: Request) -> Answer:
        """POST /distribution/{name}/archive."""
        pushed = await self._distribution.receive_archive(
            request.params[0],
            request.body,
            name=request.text("name"),
            platform=oci_platform(request),
            auth=registry_auth(request),
        )
        return answers.document(request, pushed, 201)

    async def send_archive(self, request: Request) -> Answer | None:
        """GET /distribution/{name}/archive."""
        archive = self._distribution.send_archive(
            request.params[0],
            name=request.text("name"),
            platform=oci_platform(request),
            auth=registry_auth(request),
        )
        return await answers.raw(request, archive, TAR)

    async def convert_archive(self, request: Request) -> Answer | None:
        """POST /distribution/archive."""
        archive = self._distribution.convert_archive(
            request.body,
            source=request.text("source"),
            name=request.text("name"),
            platform=oci_platform(request),
        )
        return await answers.raw(request, archive, TAR)

    async def push_index(self, request: Request) -> Answer:
        """POST /distribution/{name}/index."""
        body = await request.json(IndexRequest)
        pushed = await self._distribution.push_index(
            request.params[0], body.manifests, registry_auth(request)
        )
        return answers.document(request, pushed, 201)

    async def search(self, request: Request) -> Answer:
        """GET /images/search."""
        text = request.text("limit")
        try:
            limit = int(text) if text else 0
        except ValueError as e:
            reason = f'strconv.Atoi: parsing "{text}": invalid syntax'
            raise InvalidParameter(f"invalid limit specified: {reason}") from e
        if not 0 <= limit <= _MOST:
            raise InvalidParameter(f"limit {limit} is outside the range of [1, {_MOST}]")
        found = await self._distribution.search(
            request.text("term"),
            limit=limit or _DEFAULT_LIMIT,
            filters=Filters.parse(request.text("filters")),
            auth=registry_auth(request),
        )
        return answers.documents(request, found)
