"""`commit`: an image of a container. Its upperdir, copied, is the new layer."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec

from corten.digest import Digest
from corten.engine.containers.config import merge_image
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.pause import Pauser
from corten.engine.containers.state import Status
from corten.engine.imagechanges import config_of_changes
from corten.errors import Conflict, InvalidParameter, NotFound
from corten.images.image import Image, ImageLayer
from corten.images.store import ImageStore
from corten.oci.image import History, ImageConfig, ImageDocument, RootFS
from corten.reference import Reference, parse_normalized
from corten.snapshots.view import View
from corten.types.container import ContainerConfig
from corten.types.operations import CommitOptions
from corten.units import format_time

EMPTY_LAYER = Digest("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")
"""The diff id of a tar without entries: nothing was changed."""

T = TypeVar("T", bound=msgspec.Struct)


class Committer:
    """Implements `corten.api.routes.commit.Committer`."""

    def __init__(self, context: Context, store: ImageStore, pauser: Pauser, *, mountpoint: str) -> None:
        """mountpoint: see `files.FileService`."""
        self._context = context
        self._store = store
        self._pauser = pauser
        self._mountpoint = mountpoint

    async def commit(self, ref: str, options: CommitOptions) -> Digest:
        """See the API's Committer."""
        began = time.perf_counter()
        container = self._context.store.get(ref)
        if container.status in (Status.DEAD, Status.REMOVING):
            what = "is Dead" if container.status is Status.DEAD else "is being removed"
            raise Conflict(f"You cannot commit container {container.id} which {what}")
        name = _tag(options.reference)
        config = committed_config(container.record.config, options)
        base = self._context.images.get(container.record.image_id)
        async with self._paused(container, wanted=options.pause):
            layer = await self._layer(container, base)
        created = format_time(time.time_ns())
        layers = list(base.layers)
        history = History(
            created=created,
            created_by=" ".join(container.record.config.cmd or ()),
            author=options.author,
            comment=options.comment,
            empty_layer=layer.diff_id == EMPTY_LAYER,
        )
        if not history.empty_layer:
            layers.append(layer)
        document = msgspec.structs.replace(
            base.document,
            created=created,
            author=options.author,
            comment=options.comment,
            container=container.id,
            config=config,
            rootfs=RootFS(diff_ids=[each.diff_id for each in layers]),
            history=[*_whole_history(base.document), history],
        )
        image = self._store.create(msgspec.json.encode(document), layers, parent=base.id)
        if name is not None:
            self._store.set_name(name, image)
        self._context.publish(
            container,
            "commit",
            comment=options.comment,
            imageID=image.id,
            imageRef=name.familiar if name else "",
        )
        self._context.measures.commit.observe(time.perf_counter() - began)
        return image.id

    async def _layer(self, container: Container, base: Image) -> ImageLayer:
        """The container's changes as a layer, without what the runtime made to mount things on."""
        store = self._store
        upper = f"{container.directory}/upper"
        lower = store.lower_dirs(base)
        view = View(mountpoint=self._mountpoint, lower=lower, upper=upper, work="", mounts=[], maps=None)

        def clean(directory: str) -> None:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                store.workers.run("corten.snapshots.filejobs:clean_changes", {"view": view}, [fd])
            finally:
                os.close(fd)

        return await store.commit_upper(upper, keep=True, clean=clean)

    @asynccontextmanager
    async def _paused(self, container: Container, *, wanted: bool) -> AsyncIterator[None]:
        """Frozen for a moment, if it runs."""
        paused = False
        if wanted and container.status is Status.RUNNING:
            with suppress(Conflict, NotFound):  # it has ended, or somebody else has paused it
                await self._pauser.pause(container, for_a_moment=True)
                paused = True
        try:
            yield
        finally:
            if paused:
                await self._pauser.thaw(container)


def committed_config(container: ContainerConfig, options: CommitOptions) -> ImageConfig:
    """The request's configuration (the container's, if it has none), changed, over the container's.

    Raises InvalidParameter for what is no valid change.
    """
    given = _converted(options.config or container, ImageConfig)
    changed = config_of_changes(options.changes, given) or given
    merged = merge_image(_converted(changed, ContainerConfig), _converted(container, ImageConfig))
    return _converted(merged, ImageConfig)


def _converted(config: msgspec.Struct, kind: type[T]) -> T:
    """The members that both kinds of configuration have."""
    plain = msgspec.to_builtins(config)
    assert isinstance(plain, Mapping)
    return msgspec.convert(plain, kind)


def _whole_history(document: ImageDocument) -> list[History]:
    """The history of the base, with something for each of its layers: imported images have none."""
    history = list(document.history or ())
    missing = len(document.diff_ids) - sum(not entry.empty_layer for entry in history)
    return [*([History()] * max(missing, 0)), *history]


def _tag(reference: str) -> Reference | None:
    if not reference:
        return None
    name = parse_normalized(reference)
    if name.digest is not None:
        raise InvalidParameter("cannot commit to digest reference")
    return name.with_default_tag()
