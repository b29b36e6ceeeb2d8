"""What becomes of a build's result: an image of the store (and a registry), an archive, files at the client.

moby, image      the store; `push=true` also to the registries of its names
docker, oci      an archive of an image, or (oci) of one for each platform
local, tar       the files
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import msgspec

from corten.builder.blocking import run_job
from corten.builder.graph import SCRATCH
from corten.builder.ops.step import tree_of
from corten.builder.results import Snapshot
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.export import Export
from corten.buildkit.filesend import send_directory, send_stream
from corten.buildkit.progress import Step
from corten.buildkit.publications import image_of, publication_of
from corten.buildkit.targets import Target
from corten.digest import Digest, short_id
from corten.errors import InvalidParameter, NotSupported
from corten.images import Image, ImageStore
from corten.images.blocking import piped
from corten.images.layout import open_layout
from corten.images.publication import Documents, Publication
from corten.images.push_layers import Say
from corten.oci.image import OCI_CONFIG, Descriptor
from corten.reference import Reference
from corten.types.progress import ProgressDetail


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
            target.check()
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
        if not target.flag("push"):
            if len(snapshots) != 1:
                raise NotSupported(
                    "the image store holds images of one platform: push what is built for several, "
                    "or use -o type=oci,dest=FILE"
                )
            return await self._stored(export, snapshots, target)
        publication = publication_of(export, snapshots, target)
        if publication.is_plain and target.form() is None:
            return await self._stored(export, snapshots, target)
        return await self._published(export, publication, target)

    async def _stored(
        self, export: Export, snapshots: Mapping[str, Snapshot], target: Target
    ) -> dict[str, str]:
        names = target.names()
        [(platform, snapshot)] = snapshots.items()
        with export.progress.internal("exporting to image") as step:
            with step.part("exporting layers"):
                made = image_of(export, platform, snapshot)
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

    async def _published(self, export: Export, publication: Publication, target: Target) -> dict[str, str]:
        names = target.names()
        if not names:
            raise InvalidParameter("tag is needed when pushing to registry")
        answer: dict[str, str] = {}
        with export.progress.internal("exporting to image") as step:

            def say_of(diff_id: Digest) -> Say:
                identifier = f"pushing layer {short_id(diff_id)}"

                def say(status: str, detail: ProgressDetail) -> None:
                    if detail.total:
                        step.status(identifier, current=detail.current or 0, total=detail.total)

                return say

            for name in names:
                auth = await ClientThings(export.client).credentials(name.domain)
                with step.part(f"pushing {name}"):
                    made = await self._store.publish(name, auth, publication, form=target.form(), say=say_of)
                step.status(f"pushed {name}@{made.top.digest}", done=True)
                answer = _of_publication(publication, made, names)
        return answer

    async def _archive(
        self, export: Export, snapshots: Mapping[str, Snapshot], target: Target
    ) -> dict[str, str]:
        names = target.names()
        publication = publication_of(export, snapshots, target)
        what = "docker image format" if target.type == "docker" else "oci image format"
        with export.progress.internal(f"exporting to {what}") as step:
            async with open_layout(
                self._store, publication, names, form=target.form(), for_docker=target.type == "docker"
            ) as (archive, made):
                described = _of_publication(publication, made, names)
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


def _of_publication(publication: Publication, made: Documents, names: Sequence[Reference]) -> dict[str, str]:
    return {
        "containerimage.digest": made.top.digest,
        "containerimage.descriptor": _encoded(made.top),
        **(
            {"image.name": ",".join(map(str, names))}
            if len(publication.members) > 1
            else _described(publication.members[0].image, names)
        ),
    }


def _described(image: Image, names: Sequence[Reference]) -> dict[str, str]:
    return {
        "containerimage.config.digest": image.id,
        "image.name": ",".join(str(name) for name in names),
    }


def _encoded(descriptor: Descriptor) -> str:
    return base64.b64encode(msgspec.json.encode(descriptor)).decode()
