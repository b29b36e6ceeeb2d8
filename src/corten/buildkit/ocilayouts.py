"""Images in OCI layouts of clients: contexts and sources of type oci-layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from corten.builder.image import Layer
from corten.builder.results import Snapshot
from corten.builder.session import Session
from corten.builder.sources import BaseImage
from corten.buildkit.clientcontent import ClientContent, ClientLayers
from corten.buildkit.sessions import ClientSession
from corten.digest import Digest, digest_of
from corten.errors import InvalidParameter, NotFound
from corten.images import ImageStore
from corten.oci.image import (
    INDEX_TYPES,
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    InvalidDocument,
    decode_config,
    decode_index,
    decode_manifest,
    kind_of,
)
from corten.platforms import Platform, best_match, host_platform
from corten.reference import parse_normalized


@dataclass(frozen=True, slots=True)
class LayoutPlace:
    """A manifest by its digest, in the content store that the client has under a name."""

    store: str
    digest: Digest

    @staticmethod
    def of(reference: str, attributes: Mapping[str, str]) -> LayoutPlace:
        """`reference`: name[:tag]@digest, as it stands behind `oci-layout://`. Raises InvalidParameter."""
        parsed = parse_normalized(reference)
        if parsed.digest is None:
            raise InvalidParameter(f"an oci-layout source needs a digest: {reference}")
        above, slash, last = reference.partition("@")[0].rpartition("/")
        store = attributes.get("oci.store") or f"{above}{slash}{last.partition(':')[0]}"
        return LayoutPlace(f"oci:{store}", parsed.digest)


class OciLayouts:
    """Brings images of clients into the store, for the time of a build."""

    def __init__(self, store: ImageStore, session: Session) -> None:
        self._store = store
        self._session = session

    async def open(self, client: ClientSession, place: LayoutPlace, platform: Platform | None) -> BaseImage:
        """The image for a platform (None: ours), in the store. Raises CortenError."""
        content = ClientContent(client, place.store)
        top = Descriptor(media_type="", digest=place.digest, size=0)
        raw = await content.read(top, MAX_MANIFEST_BYTES)
        if kind_of(raw, "") in INDEX_TYPES:
            raw = await content.read(_chosen(raw, platform or host_platform()), MAX_MANIFEST_BYTES)
        manifest = decode_manifest(raw)
        config = await content.read(manifest.config, MAX_CONFIG_BYTES)
        diff_ids = decode_config(config).diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidDocument("invalid image: manifest and config do not have the same layers")
        self._session.pin(Snapshot(tuple(Layer(diff_id) for diff_id in diff_ids)))
        for diff_id, descriptor in zip(diff_ids, manifest.layers, strict=True):
            if not self._store.layers.has(diff_id):
                await ClientLayers(self._store, content).bring(diff_id, descriptor)
        return BaseImage(id=digest_of(config), config=config, diff_ids=tuple(diff_ids))


def _chosen(raw: bytes, platform: Platform) -> Descriptor:
    entries = [each for each in decode_index(raw).manifests if each.platform is not None]
    offers = [(each.platform.normalized(), each) for each in entries if each.platform is not None]
    found = best_match(platform, offers)
    if found is None:
        raise NotFound(f"the oci-layout has no image for {platform}")
    return found
