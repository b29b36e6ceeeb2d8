"""The builder's `Images` over the engine's image store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from corten.builder.sources import BaseImage, FindCredentials, OnProgress
from corten.digest import Digest, digest_of
from corten.errors import NoSuchImage
from corten.images import Image, ImageLayer, ImageStore
from corten.platforms import Platform
from corten.reference import InvalidReference, Reference, parse_normalized
from corten.registry.client.credentials import domain_of_server_address
from corten.types.system import AuthConfig


class StoreImages:
    """See `corten.builder.sources.Images`."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def resolve(
        self,
        reference: str,
        *,
        platform: Platform | None,
        pull: bool,
        credentials: FindCredentials,
        on_progress: OnProgress,
    ) -> BaseImage:
        """See `corten.builder.sources.Images`."""
        found = self._store.find(reference)
        if found is not None and not _suits(found, platform):
            found = None
        if found is None or (pull and not _is_id(found, reference)):
            auth = await credentials(_parsed(reference).domain)
            wanted = str(platform) if platform else ""
            async for message in self._store.pull(reference, platform=wanted, auth=auth):
                on_progress(message)
            found = self._store.resolve(reference)
        return BaseImage(
            id=found.id, config=found.raw_config, diff_ids=found.diff_ids, pin=self._pin(found, reference)
        )

    def _pin(self, image: Image, text: str) -> str:
        with suppress(InvalidReference):
            reference = parse_normalized(text).with_default_tag()
            if reference.digest is not None:
                return reference.digest
            if (kept := self._store.indexes.of(reference)) is not None:
                return kept.digest
        return image.manifest_digest or image.id

    def find(self, reference: str, platform: Platform | None) -> BaseImage | None:
        """See `corten.builder.sources.Images`."""
        found = self._store.find(reference)
        if found is None or not _suits(found, platform):
            return None
        return BaseImage(id=found.id, config=found.raw_config, diff_ids=found.diff_ids)

    async def create(self, config: bytes, diff_ids: tuple[str, ...]) -> Digest:
        """See `corten.builder.sources.Images`."""
        image_id = digest_of(config)
        if not self._store.has(image_id):  # as of a build whose steps all were cached
            self._store.create(config, [ImageLayer(diff_id=Digest(diff_id)) for diff_id in diff_ids])
        return image_id

    async def tag(self, image_id: Digest, reference: str) -> None:
        """See `corten.builder.sources.Images`."""
        self._store.tag(image_id, reference)


def _suits(image: Image, platform: Platform | None) -> bool:
    return platform is None or platform.rank(image.platform) is not None


def _is_id(image: Image, reference: str) -> bool:
    return image.id.removeprefix("sha256:").startswith(reference.removeprefix("sha256:"))


def _parsed(reference: str) -> Reference:
    try:
        return parse_normalized(reference)
    except InvalidReference:
        # What looks like a piece of an id cannot be pulled.
        if set(reference) <= set("0123456789abcdef"):
            raise NoSuchImage(reference) from None
        raise


def credentials_for(auth: Mapping[str, AuthConfig], domain: str) -> AuthConfig | None:
    """Those for the registry of a reference; keys of `auth` are as in Docker's config.json."""
    return next(
        (config for address, config in auth.items() if domain_of_server_address(address) == domain), None
    )


def credentials_in(auth: Mapping[str, AuthConfig]) -> FindCredentials:
    """Those that a client has sent along."""

    async def find(domain: str) -> AuthConfig | None:
        return credentials_for(auth, domain)

    return find
