"""--cache-from and --cache-to of a build over BuildKit's protocol."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from corten.builder.cachetransfer.document import Known, Record, encode_inline
from corten.builder.cachetransfer.imports import LayerSource
from corten.builder.cachetransfer.options import CachePlace
from corten.builder.cachetransfer.packing import Packed, pack, wanted_layers
from corten.builder.cachetransfer.registry import export_to_registry, import_from_registry
from corten.builder.cachetransfer.unpacking import unpack
from corten.builder.image import Layer
from corten.builder.results import Snapshot
from corten.builder.session import Session
from corten.builder.solver import Solve
from corten.buildkit.clientcontent import ClientContent, ClientLayers
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.progress import Progress, Step
from corten.buildkit.proto.control_pb2 import CacheOptionsEntry
from corten.buildkit.sessions import ClientSession
from corten.digest import Digest
from corten.errors import CortenError, InvalidParameter
from corten.images import ImageLayer, ImageStore
from corten.images.layer_blobs import compressed_blob, kept_blob
from corten.oci.image import MAX_MANIFEST_BYTES, Descriptor
from corten.types.progress import ProgressDetail
from corten.types.system import AuthConfig


class Caches:
    """The caches of one build. Event loop's thread only."""

    def __init__(
        self, store: ImageStore, session: Session, client: ClientSession, progress: Progress
    ) -> None:
        self._store = store
        self._session = session
        self._client = client
        self._progress = progress
        self._imported: set[Hashable] = set()

    # ------------------------------------------------------------ from elsewhere

    async def import_all(self, places: Iterable[CachePlace]) -> None:
        """Have the solver ask these caches too. Those that are not there are told of and left out.

        Raises InvalidParameter, NotSupported for what cannot be meant.
        """
        # Clients say it twice: with the request and in the frontend's options, in any order of attributes.
        named = {(place.type, *sorted(place.attributes.items())): place for place in places}
        wanted = {name: place for name, place in named.items() if name not in self._imported}
        for place in wanted.values():
            place.check_import()
        for name, place in wanted.items():
            self._imported.add(name)
            try:
                with self._progress.internal(f"importing cache manifest from {place}"):
                    self._session.imports.add(*await self._opened(place))
            except CortenError:
                continue  # told by the step; the first build of all has no cache to begin with

    async def _opened(self, place: CachePlace) -> tuple[Known, LayerSource]:
        if place.type == "registry":
            return await import_from_registry(self._store, place, await self._credentials(place))
        digest = place.attributes.get("digest", "")
        if not digest:
            raise InvalidParameter("local cache importer requires explicit digest")
        content = ClientContent(self._client, f"local:{place.attributes.get('src', '')}")
        top = Descriptor(media_type="", digest=digest, size=0)
        known = await unpack(await content.read(top, MAX_MANIFEST_BYTES), content.read)
        return known, ClientLayers(self._store, content)

    async def _credentials(self, place: CachePlace) -> AuthConfig | None:
        return await ClientThings(self._client).credentials(place.reference.domain)

    # ------------------------------------------------------------ to elsewhere

    async def export_all(
        self, places: Sequence[CachePlace], solve: Solve, results: Mapping[str, Snapshot]
    ) -> dict[str, str]:
        """Export what `solve` has done; what clients are answered. `results`: the build's, by platform."""
        answer: dict[str, str] = {}
        for place in [each for each in places if each.type != "inline"]:
            try:
                answer.update(await self._export(place, solve, [each.layers for each in results.values()]))
            except CortenError:
                if not place.may_fail:
                    raise
        return answer

    async def _export(
        self, place: CachePlace, solve: Solve, results: Sequence[Sequence[Layer]]
    ) -> dict[str, str]:
        where = "registry" if place.type == "registry" else "client directory"
        with self._progress.internal(f"exporting cache to {where}") as step:
            with step.part("preparing build cache for export"):
                records = solve.records()
                layers = await self._here(solve, wanted_layers(records, results, all_steps=place.all_steps))
            if place.type == "registry":
                packed = await self._push(place, records, layers, step)
            else:
                packed = await self._write(place, records, layers, step)
        return packed.answer

    async def _here(self, solve: Solve, layers: Sequence[Digest]) -> list[Digest]:
        """Those of the layers that are in the store, or in a cache from which they can be fetched."""
        return [each for each in layers if await solve.fetched(each)]

    async def _push(
        self, place: CachePlace, records: Sequence[Record], layers: Sequence[Digest], step: Step
    ) -> Packed:
        def told(diff_id: Digest, status: str, detail: ProgressDetail) -> None:
            if detail.total:
                step.status(f"writing layer {diff_id}", current=detail.current or 0, total=detail.total)

        auth = await self._credentials(place)
        with step.part(f"writing cache manifest to {place}"):
            return await export_to_registry(self._store, place, auth, records, layers, told)

    async def _write(
        self, place: CachePlace, records: Sequence[Record], layers: Sequence[Digest], step: Step
    ) -> Packed:
        content = ClientContent(self._client, f"local:{place.attributes.get('dest', '')}")
        blobs: dict[str, Descriptor] = {}
        with self._store.pins() as pins:
            for diff_id in layers:
                pins.layer(diff_id)
            for diff_id in layers:
                with step.part(f"writing layer {diff_id}"):
                    blobs[diff_id] = await self._write_layer(content, diff_id)
        packed = pack(records, blobs, as_image=place.as_image)
        with step.part(f"writing config {packed.config_descriptor.digest}"):
            await content.write(packed.config, packed.config_descriptor)
        with step.part(f"writing cache manifest {packed.descriptor.digest}"):
            await content.write(packed.manifest, packed.descriptor)
        return packed

    async def _write_layer(self, content: ClientContent, diff_id: Digest) -> Descriptor:
        layer = self._store.with_blob(ImageLayer(diff_id=diff_id))
        kept = kept_blob(self._store, layer)
        if kept is not None:
            await content.write_file(kept.path, kept.descriptor)
            return kept.descriptor
        async with compressed_blob(self._store, layer) as made:
            await content.write_file(made.path, made.descriptor)
            return made.descriptor


def inline_cache(places: Iterable[CachePlace], solve: Solve, layers: Sequence[Layer]) -> bytes:
    """What an image of these layers says of the cache; b"" unless that was asked for."""
    if not any(place.type == "inline" for place in places):
        return b""
    return encode_inline(solve.records(), layers)


def entries(options: Iterable[CacheOptionsEntry]) -> list[CachePlace]:
    """As requests name them."""
    return [CachePlace(each.type, dict(each.attrs)) for each in options]
