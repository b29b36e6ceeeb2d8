"""Pushing layers under a manifest that is no image's: a build cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corten.digest import Digest, digest_of
from corten.images.blocking import run_blocking, run_to_end
from corten.images.catalogue import ImageCatalogue
from corten.images.image import ImageLayer
from corten.images.push_layers import LayerPusher, Say
from corten.images.transfer import TransferSettings, Turns
from corten.oci.image import Descriptor
from corten.reference import Reference
from corten.registry.client import BytesBody, PushTarget
from corten.types.system import AuthConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What is pushed. `assemble`: from the layers' descriptors to further blobs, the manifest, its type.

    `say`: told of a layer (its diff id) and how far it is.
    """

    layers: Sequence[ImageLayer]
    assemble: Callable[[Sequence[Descriptor]], tuple[Sequence[bytes], bytes, str]]
    say: Callable[[Digest], Say]


async def push_artifact(
    store: ImageCatalogue,
    reference: Reference,
    auth: AuthConfig | None,
    artifact: Artifact,
    settings: TransferSettings,
    turns: Turns,
) -> None:
    """Push to the tag of `reference`. Raises RegistryError."""
    target = await run_blocking(PushTarget, reference, auth, settings.hosts)
    pusher = LayerPusher(store, reference, target, settings, turns)
    await run_to_end(target.abort, target.ping)
    try:
        async with asyncio.TaskGroup() as tasks:
            pushes = [
                tasks.create_task(pusher.push(layer, None, artifact.say(layer.diff_id)))
                for layer in artifact.layers
            ]
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    blobs, manifest, media_type = artifact.assemble([push.result() for push in pushes])

    def finish() -> None:
        for blob in blobs:
            if not target.has_blob(digest_of(blob)):
                target.upload(digest_of(blob), BytesBody(blob))
        target.put_manifest(reference.tag or "", manifest, media_type)

    await run_to_end(target.abort, finish)
