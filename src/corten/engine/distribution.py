"""The distribution service: the API's Protocol over the registry client."""

from __future__ import annotations

from collections.abc import Sequence

from corten.digest import Digest
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.images.blocking import run_blocking
from corten.images.store import ImageStore
from corten.oci.image import (
    INDEX_TYPES,
    MAX_CONFIG_BYTES,
    DescriptorPlatform,
    decode_config,
    decode_index,
    decode_manifest,
)
from corten.reference import parse_normalized
from corten.registry.client import RemoteManifest, RemoteRegistry, search
from corten.types.image import Descriptor, DistributionInspect, OCIPlatform, SearchResult
from corten.types.system import AuthConfig

_FILTERS = ("is-automated", "is-official", "stars")


class DistributionService:
    """Implements `corten.api.routes.distribution.Distribution`."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def inspect(self, reference: str, auth: AuthConfig | None) -> DistributionInspect:
        """See Distribution."""
        parsed = parse_normalized(reference).with_default_tag()
        hosts = self._store.transfers.hosts

        def ask() -> DistributionInspect:
            remote = RemoteRegistry(parsed, auth, hosts)
            found = remote.manifest(parsed.digest or parsed.tag or "")
            descriptor = Descriptor(media_type=found.media_type, digest=found.digest, size=len(found.raw))
            return DistributionInspect(descriptor=descriptor, platforms=_platforms(remote, found))

        return await run_blocking(ask)

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
