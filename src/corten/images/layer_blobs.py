"""Layers as files in the form in which they travel: the blob that was kept, or one made for the occasion."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from corten.digest import DigestMismatch
from corten.images.blocking import run_to_end
from corten.images.catalogue import ImageCatalogue
from corten.images.image import ImageLayer
from corten.oci.image import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
)
from corten.snapshots.workers import Job

_PLAIN = (OCI_LAYER, DOCKER_LAYER)
UNCOMPRESSED = "uncompressed"
ESTARGZ = "estargz"
DIFF_ID = "containerd.io/uncompressed"
"""Annotation of a descriptor, until its manifest is written: the diff id of a layer that was written anew."""
_TABLE = "containerd.io/snapshot/stargz/toc.digest"
_SIZE = "io.containers.estargz.uncompressed-size"
_FORMS = {
    UNCOMPRESSED: _PLAIN,
    "gzip": (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP),
    "zstd": (OCI_LAYER_ZSTD,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerForm:
    """How layers are to travel. `kind`: gzip, zstd, estargz or uncompressed; `level` None = the usual one.

    `force`: also those that came, and were kept, in another form.
    """

    kind: str
    level: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A layer's bytes on this machine."""

    descriptor: Descriptor
    path: str


def kept_blob(store: ImageCatalogue, layer: ImageLayer, known: Descriptor | None = None) -> LayerBlob | None:
    """The blob that is kept, if it may travel as it is: a plain tar only where a manifest (`known`) does."""
    if known is not None and known.digest == layer.diff_id and (tar := store.layers.tar(layer.diff_id)):
        return LayerBlob(known, tar)
    if layer.blob is None or not store.blobs.has(layer.blob):
        return None
    wanted = known is not None and known.digest == layer.blob
    if not wanted and layer.media_type in _PLAIN:
        return None
    size = store.blobs.size(layer.blob)
    descriptor = Descriptor(media_type=layer.media_type, digest=layer.blob, size=size)
    return LayerBlob(descriptor, store.blobs.path(layer.blob))


@asynccontextmanager
async def compressed_blob(store: ImageCatalogue, layer: ImageLayer) -> AsyncIterator[LayerBlob]:
    """The layer compressed anew, into a file that is gone in the end."""
    with _spool(store) as path:
        yield await _compress(store, layer, path, LayerForm(kind="gzip"), DOCKER_LAYER_GZIP)


@asynccontextmanager
async def blob_in_form(store: ImageCatalogue, layer: ImageLayer, form: LayerForm) -> AsyncIterator[LayerBlob]:
    """The layer as it is kept if that will do, else written anew, into a file that is gone in the end."""
    suits = layer.media_type in _FORMS.get(form.kind, ()) or not form.force
    if suits and layer.blob is not None and store.blobs.has(layer.blob):
        size = store.blobs.size(layer.blob)
        found = Descriptor(media_type=layer.media_type or OCI_LAYER, digest=layer.blob, size=size)
        yield LayerBlob(found, store.blobs.path(layer.blob))
        return
    with _spool(store) as path:
        if form.kind == UNCOMPRESSED:
            yield await _write_plain(store, layer, path)
        elif form.kind == ESTARGZ:
            with _spool(store) as tar:
                await _write_plain(store, layer, tar)
                yield await _write_stargz(store, layer, tar, path, form.level)
        else:
            yield await _compress(store, layer, path, form, _FORMS[form.kind][0])


async def _write_plain(store: ImageCatalogue, layer: ImageLayer, path: str) -> LayerBlob:
    source = store.layers.source(layer.diff_id)

    def work() -> LayerBlob:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            store.layers.write_tar_of(source, layer.diff_id, fd)
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        return LayerBlob(Descriptor(media_type=OCI_LAYER, digest=layer.diff_id, size=size), path)

    return await run_to_end(lambda: None, work)


async def _write_stargz(
    store: ImageCatalogue, layer: ImageLayer, tar: str, path: str, level: int | None
) -> LayerBlob:
    jobs: list[Job] = []

    def stop() -> None:
        for job in jobs:
            job.kill()

    def work() -> LayerBlob:
        source = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            jobs.append(store.workers.start("corten.snapshots.jobs:stargz", {"level": level}, [source, fd]))
            answer = jobs[0].wait()
        finally:
            os.close(source)
            os.close(fd)
        if answer["source"] != layer.diff_id:
            raise DigestMismatch(layer.diff_id, str(answer["source"]))
        descriptor = Descriptor(
            media_type=OCI_LAYER_GZIP,
            digest=str(answer["digest"]),
            size=int(str(answer["length"])),
            annotations={
                DIFF_ID: str(answer["diff_id"]),
                _TABLE: str(answer["table"]),
                _SIZE: str(answer["uncompressed"]),
            },
        )
        return LayerBlob(descriptor, path)

    return await run_to_end(stop, work)


@contextmanager
def _spool(store: ImageCatalogue) -> Iterator[str]:
    path = os.path.join(store.tmp, f"push-{secrets.token_hex(8)}")
    try:
        yield path
    finally:
        if os.path.exists(path):
            os.unlink(path)


async def _compress(
    store: ImageCatalogue, layer: ImageLayer, path: str, form: LayerForm, media_type: str
) -> LayerBlob:
    source = store.layers.source(layer.diff_id)
    if layer.blob is not None and layer.media_type in _PLAIN and store.blobs.has(layer.blob):
        source = store.blobs.path(layer.blob)
    jobs: list[Job] = []

    def stop() -> None:
        for job in jobs:
            job.kill()

    def work() -> LayerBlob:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            digest, length = store.layers.compress(
                source, layer.diff_id, fd, jobs.append, kind=form.kind, level=form.level
            )
        finally:
            os.close(fd)
        return LayerBlob(Descriptor(media_type=media_type, digest=digest, size=length), path)

    return await run_to_end(stop, work)
