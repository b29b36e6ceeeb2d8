"""The distribution service: the API's Protocol over the registry client."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence

import msgspec

from corten.digest import Digest
from corten.engine.imagecopies import ImageCopies
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.images import signatures as stored
from corten.images.blocking import run_blocking
from corten.images.copyregistry import Place
from corten.images.store import ImageStore
from corten.oci.image import (
    INDEX_TYPES,
    MAX_CONFIG_BYTES,
    DescriptorPlatform,
    decode_config,
    decode_index,
    decode_manifest,
)
from corten.oci.image import Descriptor as OciDescriptor
from corten.platforms import Platform
from corten.reference import parse_normalized
from corten.registry.client import RemoteManifest, RemoteRegistry, search
from corten.types.distribution import (
    DistributionInspect,
    IndexMember,
    Pushed,
    SearchResult,
    Signature,
)
from corten.types.distribution import ImageSignatures as SignatureList
from corten.types.image import Descriptor, OCIPlatform
from corten.types.system import AuthConfig

_FILTERS = ("is-automated", "is-official", "stars")


class DistributionService:
    """Implements `corten.api.routes.distribution.Distribution`."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._copies = ImageCopies(store)

    async def inspect(self, reference: str, auth: AuthConfig | None) -> DistributionInspect:
        """See Distribution."""
        parsed = parse_normalized(reference).with_default_tag()
        hosts = self._store.transfers.hosts

        def ask() -> DistributionInspect:
            with RemoteRegistry(parsed, auth, hosts) as remote:
                found = remote.manifest(parsed.digest or parsed.tag or "")
                platforms = _platforms(remote, found)
            descriptor = Descriptor(media_type=found.media_type, digest=found.digest, size=len(found.raw))
            return DistributionInspect(descriptor=descriptor, platforms=platforms)

        return await run_blocking(ask)

    async def signatures(self, reference: str, auth: AuthConfig | None) -> SignatureList:
        """See Distribution."""

        def ask() -> SignatureList:
            source = self._signatures(reference, auth)
            digest = source.digest()
            found = [
                Signature(payload=_text(each.payload), signature=_text(each.signature))
                for each in source.of(digest)
            ]
            return SignatureList(digest=digest, signatures=found)

        return await run_blocking(ask)

    async def add_signature(self, reference: str, signature: Signature, auth: AuthConfig | None) -> None:
        """See Distribution."""
        try:
            payload, raw = (
                b64decode(text, validate=True) for text in (signature.payload, signature.signature)
            )
        except ValueError as e:
            raise InvalidParameter(f"malformed signature: {e}") from e

        def attach() -> None:
            source = self._signatures(reference, auth)
            source.attach(source.digest(), stored.Signature(payload, raw))

        await run_blocking(attach)

    def _signatures(self, reference: str, auth: AuthConfig | None) -> stored.ImageSignatures:
        return stored.ImageSignatures(parse_normalized(reference), auth, self._store.transfers.hosts)

    async def manifest(self, reference: str, auth: AuthConfig | None) -> tuple[bytes, str]:
        """See Distribution."""
        parsed = parse_normalized(reference).with_default_tag()
        hosts = self._store.transfers.hosts

        def ask() -> tuple[bytes, str]:
            with RemoteRegistry(parsed, auth, hosts) as remote:
                found = remote.manifest(parsed.digest or parsed.tag or "")
            return found.raw, found.media_type

        return await run_blocking(ask)

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
        """See Distribution."""
        origin = Place(parse_normalized(source), source_auth)
        to = Place(parse_normalized(target), auth)
        return await self._copies.between(to, origin, platform, referrers=referrers)

    async def receive_archive(
        self,
        target: str,
        body: AsyncIterator[bytes],
        *,
        name: str,
        platform: Platform | None,
        auth: AuthConfig | None,
    ) -> Pushed:
        """See Distribution."""
        return await self._copies.unpacked(Place(parse_normalized(target), auth), body, name, platform)

    def send_archive(
        self, source: str, *, name: str, platform: Platform | None, auth: AuthConfig | None
    ) -> AsyncIterator[bytes]:
        """See Distribution."""
        reference = parse_normalized(source)
        called = parse_normalized(name).with_default_tag() if name else None
        return self._copies.packed(Place(reference, auth), called, platform)

    def convert_archive(
        self, body: AsyncIterator[bytes], *, source: str, name: str, platform: Platform | None
    ) -> AsyncIterator[bytes]:
        """See Distribution."""
        called = parse_normalized(name).with_default_tag() if name else None
        return self._copies.repacked(body, source, called, platform)

    async def push_index(
        self, target: str, members: Sequence[IndexMember], auth: AuthConfig | None
    ) -> Pushed:
        """See Distribution."""
        to = Place(parse_normalized(target), auth)
        sources = []
        for member in members:
            reference = parse_normalized(member.ref)
            if reference.domain != to.reference.domain:
                raise InvalidParameter(
                    "cannot use source images from a different registry than the target image: "
                    f"{reference.domain} != {to.reference.domain}"
                )
            descriptor = msgspec.convert(msgspec.to_builtins(member.descriptor), OciDescriptor)
            sources.append((Place(reference, auth), descriptor))
        return await self._copies.index(to, sources)

    async def search(
        self, term: str, *, limit: int, filters: Filters, auth: AuthConfig | None
    ) -> Sequence[SearchResult]:
        """See Distribution."""
        filters.validate(_FILTERS)
        if "://" in term:
            raise InvalidParameter(
                f"invalid repository name: repository name ({term}) should not have a scheme"
            )
        domain, rest = _split(term)
        hosts = self._store.transfers.hosts
        found = await run_blocking(search, hosts, domain, rest, limit, auth)
        official = filters.boolean("is-official", default=False) if "is-official" in filters else None
        automated = filters.boolean("is-automated", default=False) if "is-automated" in filters else None
        stars = _stars(filters)
        return [
            each
            for each in found
            if each.star_count >= stars
            and official in (None, each.is_official)
            and automated in (None, each.is_automated)
        ]


def _split(term: str) -> tuple[str, str]:
    """Registry and what to look for there: "reg:5000/x" is x at reg:5000, "user/x" is Docker Hub's."""
    first, slash, rest = term.partition("/")
    if slash and (any(c in first for c in ".:") or first == "localhost"):
        return first, rest
    return "docker.io", term.removeprefix("library/")


def _stars(filters: Filters) -> int:
    most = 0
    for text in filters.values_of("stars"):
        if not text.isascii() or not text.isdigit():
            reason = f'strconv.Atoi: parsing "{text}": invalid syntax'
            raise InvalidParameter(f"invalid filter 'stars={text}': {reason}")
        most = max(most, int(text))
    return most


def _platforms(remote: RemoteRegistry, found: RemoteManifest) -> list[OCIPlatform]:
    if found.media_type in INDEX_TYPES:
        platforms = [m.platform for m in decode_index(found.raw).manifests]
        return [_platform(each) for each in platforms if each is not None]
    config = decode_manifest(found.raw).config
    document = decode_config(remote.read_blob(Digest(config.digest), MAX_CONFIG_BYTES))
    return [
        OCIPlatform(
            architecture=document.architecture,
            os=document.os,
            os_version=document.os_version,
            os_features=document.os_features,
            variant=document.variant,
        )
    ]


def _platform(each: DescriptorPlatform) -> OCIPlatform:
    return OCIPlatform(
        architecture=each.architecture,
        os=each.os,
        os_version=each.os_version,
        os_features=each.os_features,
        variant=each.variant,
    )


def _text(data: bytes) -> str:
    return b64encode(data).decode()
