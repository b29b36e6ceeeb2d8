"""A publication's way to a registry, or into the store alone: layers, configs, manifests, what stands above.

What has been pushed is here, too, then: under the same name, with its index, and known by the digest under
which it can be pulled. What is kept here only has its layers compressed as they would leave, so that a later
push is that of the same documents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from corten.digest import Digest
from corten.images import attestations
from corten.images.blocking import run_blocking, run_to_end
from corten.images.catalogue import ImageCatalogue, Pins
from corten.images.image import Image, ImageLayer
from corten.images.layer_blobs import LayerForm, blob_in_form
from corten.images.publication import Documents, Publication, documents
from corten.images.push_layers import LayerPusher, Say
from corten.images.transfer import TransferSettings, Turns
from corten.oci.image import OCI_LAYER, OCI_MANIFEST, Descriptor, kind_of
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
    *,
    remember: bool,
) -> Documents:
    """Push to the tag of `reference`, or without one to no tag. Raises RegistryError.

    form: of the layers, None = gzip. remember: under its name it is then here, too.
    """
    images = [
        replace(member.image, layers=tuple(map(store.with_blob, member.image.layers)))
        for member in publication.members
    ]
    with store.pins() as pins:
        for image in images:
            pins.image(image)
        # In a thread: finding out whether a host is trusted may ask the resolver.
        with await run_blocking(PushTarget, reference, auth, settings.hosts) as target:
            pusher = LayerPusher(store, reference, target, settings, turns)
            await run_to_end(target.abort, target.ping)
            pushed = await _layers(images, pusher, form, say)
            layers = [[pushed[layer.diff_id] for layer in image.layers] for image in images]
            made = documents(publication, layers)
            await run_to_end(target.abort, _finish, target, reference, made)
    if remember:
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
        target.put_manifest(digest, raw, kind_of(raw, OCI_MANIFEST))
    target.put_manifest(reference.tag or made.top.digest, made.top_raw, made.top.media_type)


def _remember(store: ImageCatalogue, reference: Reference, images: Sequence[Image], made: Documents) -> None:
    """The name stands for the same here, or at least for what it was made of."""
    if made.rewritten and reference.tag is None:
        return  # the digest is of nothing that is here
    if made.rewritten:
        chosen = suiting(images)
        with store.ledger.transaction():  # an image without its name would be nobody's
            for image in images:
                store.create(image.raw_config, image.layers)
            store.point_name(reference, chosen.id)
    else:
        canonical = reference.with_digest(Digest(made.top.digest))
        names = (canonical,) if reference.tag is None else (reference, canonical)
        with store.pins() as pins:
            attestations.write(store, made.below, made.blobs, pins)
            chosen = _create(store, names, images, made)
    if reference.tag is not None:
        store.event("tag", chosen.id, reference.familiar)
    store.event("push", chosen.id, reference.familiar_name, actor=reference.familiar)


async def keep(
    store: ImageCatalogue,
    names: Sequence[Reference],
    publication: Publication,
    form: LayerForm | None,
    *,
    canonical: bool,
) -> Documents:
    """Into the store under names. form: of the layers, None = gzip, or as they came. Raises OSError.

    canonical: also under its digest in each name's repository.
    """
    with store.pins() as pins:
        images = [
            replace(
                member.image,
                layers=tuple([await _kept(store, each, form, pins) for each in member.image.layers]),
            )
            for member in publication.members
        ]
        layers = [[_descriptor(store, layer) for layer in image.layers] for image in images]
        made = documents(publication, layers)
        attestations.write(store, made.below, made.blobs, pins)
        more = [name.with_digest(Digest(made.top.digest)) for name in names if canonical]
        chosen = _create(store, [*names, *more], images, made)
    for name in names:
        store.event("tag", chosen.id, name.familiar)
    return made


def suiting(images: Sequence[Image]) -> Image:
    """What a name means without a platform: the image that suits this machine, else the first."""
    host = host_platform()
    return next((image for image in images if host.rank(image.platform) is not None), images[0])


def _create(
    store: ImageCatalogue, names: Sequence[Reference], images: Sequence[Image], made: Documents
) -> Image:
    """Images and names."""
    chosen = suiting(images)
    with store.ledger.transaction():
        for image, raw in zip(images, made.manifests, strict=True):
            store.create(image.raw_config, image.layers)
            store.keep_manifest(image.id, raw, replace=True)
        attestations.keep(store, attestations.found_in(made.top_raw, made.below))
        for name in names:
            store.point_name(name, chosen.id)
            if made.below:
                store.indexes.keep(name, made.top_raw)
    return chosen


async def _kept(store: ImageCatalogue, layer: ImageLayer, form: LayerForm | None, pins: Pins) -> ImageLayer:
    """The layer with a blob of it that is here; compressed, if there was none."""
    pins.layer(layer.diff_id)
    layer = store.with_blob(layer)
    if layer.blob is not None:
        pins.blob(layer.blob)
    async with blob_in_form(store, layer, form or LayerForm(kind="gzip")) as made:
        digest = Digest(made.descriptor.digest)
        if digest == layer.blob:
            return layer
        pins.blob(digest)
        if not store.has_blob(digest):
            # No other await: a blob on the disk has its row, or is swept at the next start.
            store.blobs.adopt(made.path, digest, durable=False)
            store.record_blob(digest)
    return ImageLayer(diff_id=layer.diff_id, blob=digest, media_type=made.descriptor.media_type)


def _descriptor(store: ImageCatalogue, layer: ImageLayer) -> Descriptor:
    assert layer.blob is not None
    size = store.blobs.size(layer.blob)
    return Descriptor(media_type=layer.media_type or OCI_LAYER, digest=layer.blob, size=size)
