"""A publication's way to a registry: layers, configs, the manifests, what stands above them.

What has been pushed is here, too, then: under the same name, with its index, and known by the digest under
which it can be pulled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from corten.digest import Digest
from corten.images.blocking import run_blocking, run_to_end
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image
from corten.images.layer_blobs import LayerForm
from corten.images.publication import Documents, Publication, documents
from corten.images.push_layers import LayerPusher, Say
from corten.images.transfer import TransferSettings, Turns
from corten.oci.image import OCI_MANIFEST, Descriptor
from corten.platforms import host_platform
from corten.reference import Reference
from corten.registry.client import BytesBody, PushTarget
from corten.types.system import AuthConfig

SayOfLayer = Callable[[Digest], Say]
"""Whom to tell how far a layer is, by its diff id."""


async def publish(
    store: ImageCatalogue,
    reference: Reference,
    auth: AuthConfig | None,
    publication: Publication,
    form: LayerForm | None,
    say: SayOfLayer,
    settings: TransferSettings,
    turns: Turns,
) -> Documents:
    """Push to the tag of `reference`. form: of the layers, None = gzip. Raises RegistryError."""
    images = [
        replace(member.image, layers=tuple(map(store.with_blob, member.image.layers)))
        for member in publication.members
    ]
    with store.pins() as pins:
        for image in images:
            for layer in image.layers:
                pins.layer(layer.diff_id)
                if layer.blob is not None:
                    pins.blob(layer.blob)
        # In a thread: finding out whether a host is trusted may ask the resolver.
        with await run_blocking(PushTarget, reference, auth, settings.hosts) as target:
            pusher = LayerPusher(store, reference, target, settings, turns)
            await run_to_end(target.abort, target.ping)
            pushed = await _layers(images, pusher, form, say)
            layers = [[pushed[layer.diff_id] for layer in image.layers] for image in images]
            made = documents(publication, layers)
            await run_to_end(target.abort, _finish, target, reference, made)
    _remember(store, reference, images, made)
    return made


async def _layers(
    images: Sequence[Image], pusher: LayerPusher, form: LayerForm | None, say: SayOfLayer
) -> dict[Digest, Descriptor]:
    wanted = {layer.diff_id: layer for image in images for layer in image.layers}
    try:
        async with asyncio.TaskGroup() as tasks:
            pushes = {
                diff_id: tasks.create_task(
                    pusher.push(layer, None, say(diff_id))
                    if form is None
                    else pusher.push_in_form(layer, form, say(diff_id))
                )
                for diff_id, layer in wanted.items()
            }
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
    return {diff_id: push.result() for diff_id, push in pushes.items()}


def _finish(target: PushTarget, reference: Reference, made: Documents) -> None:
    for digest, blob in made.blobs.items():
        if not target.has_blob(digest):
            target.upload(digest, BytesBody(blob))
    for digest, raw in made.below.items():
        target.put_manifest(digest, raw, OCI_MANIFEST)
    target.put_manifest(reference.tag or "", made.top_raw, made.top.media_type)


def _remember(store: ImageCatalogue, reference: Reference, images: Sequence[Image], made: Documents) -> None:
    """The name stands for the same here: the image that suits this machine, with the others below it."""
    host = host_platform()
    suiting = [image for image in images if host.rank(image.platform) is not None]
    chosen = (suiting or images)[0]
    with store.ledger.transaction():
        for image, raw in zip(images, made.manifests, strict=True):
            store.create(image.raw_config, image.layers)
            store.keep_manifest(image.id, raw, replace=True)
        for name in (reference, reference.with_digest(Digest(made.top.digest))):
            store.point_name(name, chosen.id)
            if made.below:
                store.indexes.keep(name, made.top_raw)
    store.event("tag", chosen.id, reference.familiar)
    store.event("push", chosen.id, reference.familiar_name, actor=reference.familiar)
