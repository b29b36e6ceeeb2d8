"""Caches in registries, and those that images of the store have in their own configs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corten.builder.cachetransfer.document import Known, Record
from corten.builder.cachetransfer.imports import LayerSource
from corten.builder.cachetransfer.options import CachePlace
from corten.builder.cachetransfer.packing import Packed, pack
from corten.builder.cachetransfer.unpacking import of_config, unpack
from corten.digest import Digest
from corten.errors import NotFound
from corten.images import ImageLayer, ImageStore
from corten.images.artifact import Artifact
from corten.images.blocking import run_blocking
from corten.images.push_layers import Say
from corten.oci.image import Descriptor
from corten.registry.client import RemoteRegistry
from corten.types.progress import ProgressDetail
from corten.types.system import AuthConfig

OnLayer = Callable[[Digest, str, ProgressDetail], None]
"""Told how far a layer is."""


class _Repository:
    """See LayerSource."""

    def __init__(self, store: ImageStore, remote: RemoteRegistry) -> None:
        self._store = store
        self._remote = remote

    async def bring(self, diff_id: Digest, descriptor: Descriptor) -> None:
        await self._store.fetch_layer(self._remote, diff_id, descriptor)

    async def read(self, descriptor: Descriptor, limit: int) -> bytes:
        if descriptor.media_type.endswith(("manifest.v1+json", "manifest.v2+json")):
            return (await run_blocking(self._remote.manifest, descriptor.digest)).raw
        return await run_blocking(self._remote.read_blob, Digest(descriptor.digest), limit)


class _Here:
    """Layers of an image that is in the store: nothing need be brought."""

    async def bring(self, diff_id: Digest, descriptor: Descriptor) -> None:
        raise NotFound(f"layer {diff_id} is not here any more")


async def import_from_registry(
    store: ImageStore, place: CachePlace, auth: AuthConfig | None
) -> tuple[Known, LayerSource]:
    """The cache under a reference, or in the image that it names. Raises CortenError."""
    here = store.find(str(place.reference))
    if here is not None and (known := of_config(here.raw_config, [])).layers:
        return known, _Here()
    remote = await store.remote(place.reference, auth)
    repository = _Repository(store, remote)
    top = await run_blocking(remote.manifest, place.reference.digest or place.reference.tag or "latest")
    return await unpack(top.raw, repository.read), repository


async def export_to_registry(
    store: ImageStore,
    place: CachePlace,
    auth: AuthConfig | None,
    records: Sequence[Record],
    layers: Sequence[Digest],
    on_layer: OnLayer,
) -> Packed:
    """Push a cache; `layers`, which are in the store, go along. Raises CortenError."""
    made: list[Packed] = []

    def assemble(descriptors: Sequence[Descriptor]) -> tuple[Sequence[bytes], bytes, str]:
        packed = pack(records, dict(zip(layers, descriptors, strict=True)), as_image=place.as_image)
        made.append(packed)
        return [packed.config], packed.manifest, packed.descriptor.media_type

    def say_of(diff_id: Digest) -> Say:
        return lambda status, detail: on_layer(diff_id, status, detail)

    artifact = Artifact(
        layers=[store.with_blob(ImageLayer(diff_id=each)) for each in layers], assemble=assemble, say=say_of
    )
    await store.push_artifact(place.reference, auth, artifact)
    return made[0]
