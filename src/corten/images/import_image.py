"""`docker import`: an image of one layer out of a plain tar of a root file system."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from corten.digest import Digest
from corten.images.blocking import ProgressQueue, feed_to, run_blocking
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image, ImageLayer
from corten.images.unpacking import unpack_layer
from corten.oci.image import History, ImageConfig, ImageDocument, RootFS
from corten.platforms import Platform, host_platform
from corten.reference import Reference
from corten.snapshots.layers import NewLayer
from corten.types.progress import JSONMessage
from corten.units import format_time


async def import_image(
    store: ImageCatalogue,
    body: AsyncIterator[bytes],
    *,
    name: Reference | None = None,
    config: ImageConfig | None = None,
    message: str = "",
    platform: Platform | None = None,
    source: str = "-",
) -> AsyncIterator[JSONMessage]:
    """Make an image of the (compressed) tar in `body`; yields progress, at last the id.

    config: what `--change` instructions made. Raises BadArchive, OSError.
    """
    progress = ProgressQueue()

    async def work() -> None:
        image = await import_tar(
            store, body, name=name, config=config, message=message, platform=platform, source=source
        )
        progress.put(JSONMessage(status=image.id))

    async with aclosing(progress.stream(work())) as lines:
        async for line in lines:
            yield line


async def import_tar(
    store: ImageCatalogue,
    body: AsyncIterator[bytes],
    *,
    name: Reference | None = None,
    config: ImageConfig | None = None,
    message: str = "",
    platform: Platform | None = None,
    source: str = "-",
    created_ns: int | None = None,
) -> Image:
    """As `import_image`, without progress; returns the image. created_ns: instead of now."""
    made: list[NewLayer] = []

    async def unpack(fd: int) -> None:
        try:
            made.append(await unpack_layer(store.layers, fd, None))
        finally:
            os.close(fd)

    try:
        await feed_to(body, unpack)
        if not store.layers.has(made[0].diff_id):
            # Its archive is not kept, so it gets the digest of one that can be made again.
            made[0] = await run_blocking(store.layers.canonical, made[0])
    except BaseException:
        for unwanted in made:
            store.layers.drop(unwanted)
        raise
    layer = made[0]
    document = document_of_import(
        layer.diff_id, config, message or f"Imported from {source}", platform, created_ns or time.time_ns()
    )
    with store.pins() as pins:
        pins.layer(layer.diff_id)
        store.layers.adopt(layer)
        image = store.create(msgspec.json.encode(document), [ImageLayer(diff_id=layer.diff_id)])
    store.event("import", image.id, image.id)
    if name is not None:
        store.set_name(name.with_default_tag(), image)
    return image


def document_of_import(
    diff_id: Digest, config: ImageConfig | None, comment: str, platform: Platform | None, created_ns: int
) -> ImageDocument:
    """The configuration of an imported image."""
    target = platform or host_platform()
    now = format_time(created_ns)
    return ImageDocument(
        created=now,
        architecture=target.architecture,
        variant=target.variant,
        os=target.os,
        config=config or ImageConfig(),
        rootfs=RootFS(diff_ids=[diff_id]),
        history=[History(created=now, comment=comment)],
        comment=comment,
    )


async def file_body(path: str) -> AsyncIterator[bytes]:
    """The content of a local file as a body."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := await run_blocking(os.read, fd, 1 << 20):
            yield data
    finally:
        os.close(fd)
