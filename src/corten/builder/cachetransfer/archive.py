"""The engine's whole build cache, or a part of it, as an archive: an OCI layout in a tar.

What is in it is a cache in BuildKit's form (see `document`), and unpacked one of type=local.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, aclosing

import msgspec

from corten.builder.blocking import run_blocking
from corten.builder.cache import BuildCache
from corten.builder.cachetransfer.document import Known, Record
from corten.builder.cachetransfer.packing import pack
from corten.builder.cachetransfer.unpacking import unpack
from corten.builder.image import Layer
from corten.digest import Digest
from corten.errors import InvalidParameter
from corten.images import ImageLayer, ImageStore
from corten.images.archive_reader import Member, SpooledArchive
from corten.images.blocking import feed
from corten.images.layer_blobs import compressed_blob, kept_blob
from corten.images.save import Archive, Plan
from corten.images.unpacking import unpack_layer
from corten.oci.image import REF_NAME, Descriptor, decode_index
from corten.snapshots.decompress import Limits

_MAX_CACHES = 16  # of one archive: a few bytes can name the same large document again and again


class CacheArchives:
    """Writes and reads them. Event loop's thread only."""

    def __init__(self, store: ImageStore, cache: BuildCache) -> None:
        self._store = store
        self._cache = cache

    async def export(self, keys: Collection[str] | None) -> AsyncIterator[bytes]:
        """The archive of what is under these keys, None = of all."""
        records = self._records(keys)
        plan = Plan()
        blobs: dict[str, Descriptor] = {}
        with self._store.pins() as pins:
            for record in records:
                pins.layer(Digest(record.layers[-1].diff_id))
            async with AsyncExitStack() as files:
                for diff_id in dict.fromkeys(record.layers[-1].diff_id for record in records):
                    blobs[diff_id] = await self._blob(Digest(diff_id), plan, files)
                packed = pack(records, blobs, as_image=True)
                plan.documents[Digest(packed.config_descriptor.digest)] = packed.config
                plan.documents[Digest(packed.descriptor.digest)] = packed.manifest
                # The name under which buildx looks for a cache of type=local.
                plan.index = [msgspec.structs.replace(packed.descriptor, annotations={REF_NAME: "latest"})]
                async with aclosing(Archive(plan).chunks()) as chunks:
                    async for chunk in chunks:
                        yield chunk

    def _records(self, keys: Collection[str] | None) -> list[Record]:
        entries = [(entry, (entry.key, *entry.others)) for entry in self._cache.entries()]
        records = [
            Record(keys=names, layers=(Layer(entry.diff_id, entry.created_ns),), name=entry.description)
            for entry, names in entries
            if keys is None or any(name in keys for name in names)
        ]
        return sorted(records, key=lambda record: record.keys)

    async def _blob(self, diff_id: Digest, plan: Plan, files: AsyncExitStack) -> Descriptor:
        layer = self._store.with_blob(ImageLayer(diff_id=diff_id))
        made = kept_blob(self._store, layer)
        if made is None:
            made = await files.enter_async_context(compressed_blob(self._store, layer))
        plan.layers[Digest(made.descriptor.digest)] = made.path
        return made.descriptor

    async def load(self, body: AsyncIterator[bytes]) -> int:
        """Take in what an archive knows; how many records that are. Raises BadArchive, InvalidParameter.

        What the engine knows itself stays as it is.
        """
        directory = os.path.join(self._store.tmp, f"cache-import-{secrets.token_hex(8)}")
        os.mkdir(directory, 0o700)
        try:
            archive = SpooledArchive(directory)
            await feed(body, lambda chunks: archive.spool(chunks, Limits()))
            return await self._take(archive)
        finally:
            await run_blocking(lambda: shutil.rmtree(directory, ignore_errors=True))

    async def _take(self, archive: SpooledArchive) -> int:
        async def read(descriptor: Descriptor, limit: int) -> bytes:
            return archive.blob(descriptor.digest).read(limit)

        known = Known()
        tops = decode_index(archive.get("index.json").read()).manifests
        if len(tops) > _MAX_CACHES:
            raise InvalidParameter(f"the archive has more than {_MAX_CACHES} caches")
        for top in tops:
            known.update(await unpack(archive.blob(top.digest).read(), read))
        taken = 0
        with self._store.pins() as pins:
            for key, layer in known.layers.items():
                diff_id = Digest(layer.diff_id)
                pins.layer(diff_id)
                if not self._store.layers.has(diff_id):
                    descriptor = known.blobs.get(layer.diff_id)
                    if descriptor is None or not archive.has_blob(descriptor.digest):
                        continue  # named only: its content was not worth sending
                    await self._unpacked(diff_id, archive.blob(descriptor.digest))
                if self._cache.find([key]) is None:
                    self._cache.add([key], layer, known.names.get(key, ""))
                taken += 1
        return taken

    async def _unpacked(self, diff_id: Digest, member: Member) -> None:
        fd = member.open()
        try:
            layer = await unpack_layer(self._store.layers, fd, None, lambda _: None)
        finally:
            os.close(fd)
        if layer.diff_id != diff_id:
            self._store.layers.drop(layer)
            raise InvalidParameter(f'the cache\'s layer "{diff_id}" is "{layer.diff_id}"')
        self._store.layers.adopt(layer)
