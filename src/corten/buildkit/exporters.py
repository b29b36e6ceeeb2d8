"""What becomes of a build's result: an image of the store (and a registry), an archive, files at the client.

moby, image      the store; `push=true` also to the registries of its names
docker, oci      an archive of an image, or (oci) of one for each platform
local, tar       the files
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import msgspec

from corten.builder.blocking import run_job
from corten.builder.graph import SCRATCH, Vertex
from corten.builder.image import (
    ImageState,
    Layer,
    base_image,
    document,
    scratch_image,
    with_inline_cache,
)
from corten.builder.ops.step import tree_of
from corten.builder.results import Snapshot
from corten.builder.session import Session
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.filesend import send_directory, send_stream
from corten.buildkit.progress import Progress, Step
from corten.buildkit.sessions import ClientSession
from corten.digest import Digest, digest_of
from corten.errors import InvalidParameter, NotSupported
from corten.images import Image, ImageLayer, ImageStore
from corten.images.blocking import piped
from corten.images.save import open_archive
from corten.oci.image import OCI_CONFIG, Descriptor, decode_config
from corten.platforms import host_platform
from corten.reference import Reference, parse_normalized

CONFIG = "containerimage.config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An exporter asked for. `number`: which of them, so that the client knows whose files come."""

    type: str
    attributes: Mapping[str, str]
    number: int = 0

    def names(self) -> list[Reference]:
        """What the image is to be called. Raises InvalidReference, InvalidParameter."""
        names = [parse_normalized(name) for name in self.attributes.get("name", "").split(",") if name]
        if any(name.digest is not None for name in names):
            raise InvalidParameter("build tag cannot contain a digest")
        return [name.with_default_tag() for name in names]

    def flag(self, name: str) -> bool:
        """An attribute as a truth value."""
        return self.attributes.get(name, "").lower() in ("1", "t", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A result and what is needed to hand it over. `roots`: by platform, "" = the only one."""

    roots: Mapping[str, Vertex | None]
    metadata: Mapping[str, bytes]
    solve: Callable[[Vertex], Awaitable[Snapshot]]
    client: ClientSession
    progress: Progress
    session: Session
    epoch_ns: int | None
    inline_cache: Callable[[Sequence[Layer]], bytes] = lambda _: b""

    def state(self, platform: str) -> ImageState:
        """The image's configuration as the frontend has left it."""
        config = self.metadata.get(f"{CONFIG}/{platform}" if platform else CONFIG)
        return base_image(config) if config else scratch_image(host_platform())


class Exporters:
    """Hands results over. Event loop's thread only."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._kinds = {
            "moby": self._image,
            "image": self._image,
            "docker": self._archive,
            "oci": self._archive,
            "tar": self._tar,
            "local": self._local,
        }

    async def export(self, export: Export, targets: Sequence[Target]) -> dict[str, str]:
        """Solve the roots and hand them over; what the client is answered."""
        for target in targets:
            if target.type not in self._kinds:
                raise NotSupported(f"exporter {target.type!r} is not supported")
            _check(target)
        roots = sorted(export.roots.items())
        snapshots = {platform: await export.solve(root or SCRATCH) for platform, root in roots}
        answer: dict[str, str] = {}
        for target in targets:
            answer.update(await self._kinds[target.type](export, snapshots, target))
        return answer

    # ------------------------------------------------------------ images

    async def _image(
        self, export: Export, snapshots: Mapping[str, Snapshot], target: Target
    ) -> dict[str, str]:
        if len(snapshots) != 1:
            raise NotSupported(
                "the image store holds images of one platform: build several with -o type=oci,dest=FILE"
            )
        names = target.names()
        [(platform, snapshot)] = snapshots.items()
        with export.progress.internal("exporting to image") as step:
            with step.part("exporting layers"):
                made = _made(export, platform, snapshot)
                image = self._store.create(made.raw_config, made.layers)
            step.status(f"writing image {image.id}", done=True)
            for name in names:
                self._store.tag(image.id, str(name))
                step.status(f"naming to {name}", done=True)
            if target.flag("push"):
                for name in names:
                    await self._push(export, name, step)
        return {
            "containerimage.digest": image.id,
            "containerimage.descriptor": _encoded(
                Descriptor(media_type=OCI_CONFIG, digest=image.id, size=len(image.raw_config))
            ),
            **_described(image, names),
        }

    async def _push(self, export: Export, name: Reference, step: Step) -> None:
        auth = await ClientThings(export.client).credentials(name.domain)
        with step.part(f"pushing {name} with docker"):
            async for message in self._store.push(str(name), auth=auth):
                detail = message.progress_detail
                if message.id and detail is not None and detail.total:
                    step.status(f"pushing layer {message.id}", current=detail.current, total=detail.total)

    def _with_blobs(self, image: Image) -> Image:
        """With the blobs that layers came as: what others have packed need not come out the same."""
        return replace(image, layers=tuple(self._store.with_blob(layer) for layer in image.layers))

    async def _archive(
        self, export: Export, snapshots: Mapping[str, Snapshot], target: Target
    ) -> dict[str, str]:
        if target.type == "docker" and len(snapshots) != 1:
            raise InvalidParameter("docker exporter does not currently support exporting manifest lists")
        if target.attributes.get("tar", "true").lower() not in ("1", "t", "true"):
            raise NotSupported(
                "exporting an OCI layout into a directory is not supported: leave out tar=false"
            )
        names = target.names()
        images = [self._with_blobs(_made(export, *each)) for each in snapshots.items()]
        several = len(images) > 1
        what = "docker image format" if target.type == "docker" else "oci image format"
        with export.progress.internal(f"exporting to {what}") as step:
            async with open_archive(
                self._store,
                [(image, () if several else names) for image in images],
                layout_only=target.type == "oci",
                list_names=names if several else None,
            ) as archive:
                described = {
                    "containerimage.digest": archive.top.digest,
                    "containerimage.descriptor": _encoded(archive.top),
                }
                if not several:
                    described.update(_described(images[0], names))
                with step.part("sending tarball"):
                    async with aclosing(archive.chunks()) as chunks:
                        await send_stream(export.client, target.number, described, chunks)
        return described

    # ------------------------------------------------------------ files

    async def _tar(self, export: Export, snapshots: Mapping[str, Snapshot], target: Target) -> dict[str, str]:
        with export.progress.internal("exporting to client tarball") as step:
            directory = await self._files(export, snapshots)
            with step.part("sending tarball"):
                async with aclosing(self._tarred(directory)) as chunks:
                    await send_stream(export.client, target.number, {}, chunks)
        return {}

    async def _tarred(self, directory: str) -> AsyncGenerator[bytes, None]:
        tree = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

        async def write(fd: int) -> None:
            try:
                await run_job(self._store.workers, "corten.snapshots.jobs:tar", {}, [tree, fd])
            finally:
                os.close(fd)
                os.close(tree)

        async with aclosing(piped(write)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _local(
        self, export: Export, snapshots: Mapping[str, Snapshot], target: Target
    ) -> dict[str, str]:
        with export.progress.internal("exporting to client directory") as step:
            directory = await self._files(export, snapshots)
            with step.part("copying files"):
                await send_directory(export.client, target.number, directory)
        return {}

    async def _files(self, export: Export, snapshots: Mapping[str, Snapshot]) -> str:
        """A directory of the build's with a result's files; of several platforms one below it for each."""
        parent = export.session.new_directory("export")
        for platform, snapshot in snapshots.items():
            params = {
                "tree": tree_of(export.session, snapshot),
                "mountpoint": export.session.mountpoint,
                "source": "/",
                "target": parent,
            }
            await run_job(self._store.workers, "corten.builder.jobs:materialize", params)
            if platform:
                os.rename(os.path.join(parent, "source"), os.path.join(parent, platform.replace("/", "_")))
        return parent if "" not in snapshots else os.path.join(parent, "source")


def _made(export: Export, platform: str, snapshot: Snapshot) -> Image:
    """The image that a result is; in no catalogue yet."""
    config = document(export.state(platform), snapshot.layers, export.epoch_ns)
    if cache := export.inline_cache(snapshot.layers):
        config = with_inline_cache(config, cache)
    return Image(
        id=digest_of(config),
        document=decode_config(config),
        raw_config=config,
        layers=tuple(ImageLayer(diff_id=Digest(layer.diff_id)) for layer in snapshot.layers),
        size=0,
    )


def _check(target: Target) -> None:
    """Refuse what would be ignored. Layers go out as they are in archives, and as gzip to registries."""
    for name in target.attributes:
        if name.startswith(("annotation.", "annotation-")):
            raise NotSupported(f"annotations are not supported yet: {name}")
    wanted = target.attributes.get("compression", "")
    offered = ("", "uncompressed") if target.type in ("oci", "docker") else ("", "gzip")
    if wanted not in offered:
        raise NotSupported(f"compression={wanted} is not supported by the {target.type} exporter")


def _described(image: Image, names: Sequence[Reference]) -> dict[str, str]:
    return {
        "containerimage.config.digest": image.id,
        "image.name": ",".join(str(name) for name in names),
    }


def _encoded(descriptor: Descriptor) -> str:
    return base64.b64encode(msgspec.json.encode(descriptor)).decode()
