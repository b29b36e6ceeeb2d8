"""A publication as an archive: an OCI layout, or that and a docker-archive in one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import msgspec

from corten.digest import Digest, digest_of
from corten.images.catalogue import ImageCatalogue
from corten.images.image import ImageLayer
from corten.images.layer_blobs import LayerForm, blob_in_form
from corten.images.publication import Documents, Publication, documents
from corten.images.save import Archive, Plan, annotations_of_names, list_for_docker, plan_layer, spooled
from corten.images.times import created_ns
from corten.oci.image import Descriptor
from corten.reference import Reference


@asynccontextmanager
async def open_layout(
    store: ImageCatalogue,
    publication: Publication,
    names: Sequence[Reference],
    *,
    form: LayerForm | None,
    for_docker: bool,
) -> AsyncIterator[tuple[Archive, Documents]]:
    """The archive of images that need not be in the catalogue, but whose layers must be in the store.

    form: of their layers, None = as they lie here. for_docker: with Docker's own tables.
    """
    # With the blobs that layers came as: what others have packed need not come out the same.
    images = [
        replace(member.image, layers=tuple(map(store.with_blob, member.image.layers)))
        for member in publication.members
    ]
    async with spooled(store, images) as spool, AsyncExitStack() as files:
        plan = Plan()
        layers = []
        for image in images:
            moment = created_ns(image.document.created)
            if form is None:
                found = [
                    await plan_layer(store, plan, image, position, spool, moment)
                    for position in range(len(image.layers))
                ]
            else:
                found = [await _formed(store, plan, layer, form, moment, files) for layer in image.layers]
            layers.append(found)
            if for_docker:
                list_for_docker(plan, image, names, found)
        made = documents(publication, layers)
        _add(plan, made, max(created_ns(image.document.created) for image in images))
        plan.index = [_named(made.top, said) for said in annotations_of_names(names)]
        yield Archive(plan), made


async def _formed(
    store: ImageCatalogue,
    plan: Plan,
    layer: ImageLayer,
    form: LayerForm,
    moment: int,
    files: AsyncExitStack,
) -> Descriptor:
    blob = await files.enter_async_context(blob_in_form(store, layer, form))
    digest = Digest(blob.descriptor.digest)
    plan.layers[digest] = blob.path
    plan.mtimes.setdefault(digest, moment)
    return blob.descriptor


def _add(plan: Plan, made: Documents, moment: int) -> None:
    for raw in (*made.blobs.values(), *made.below.values(), made.top_raw):
        plan.documents[digest_of(raw)] = raw
        plan.mtimes[digest_of(raw)] = moment


def _named(top: Descriptor, said: dict[str, str] | None) -> Descriptor:
    return msgspec.structs.replace(top, annotations={**(top.annotations or {}), **(said or {})} or None)
