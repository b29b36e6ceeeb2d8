"""What becomes of a build's result: an image of the store (and a registry), an archive, files at the client.

moby, image      the store; `push=true` also to the registries of its names
docker, oci      an archive of an image, or (oci) of one for each platform
local, tar       the files
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from corten.builder.export.export import Export
from corten.builder.export.files import result_files, tar_of
from corten.builder.export.ports import StepTold
from corten.builder.export.publications import publication_of
from corten.builder.export.targets import Target
from corten.builder.graph import SCRATCH
from corten.builder.results import Snapshot
from corten.digest import Digest, short_id
from corten.errors import InvalidParameter, NotSupported
from corten.images import Image, ImageStore
from corten.images.blocking import run_blocking
from corten.images.claims import Claim
from corten.images.layout import open_layout
from corten.images.publication import Documents, Publication
from corten.images.push_layers import Say
from corten.oci.image import OCI_CONFIG, Descriptor
from corten.reference import Reference
from corten.types.progress import ProgressDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A result: root file systems, and what is attested of them, by platform ("" = the only one)."""

    snapshots: Mapping[str, Snapshot]
    claims: Mapping[str, Sequence[Claim]]


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

    def check(self, targets: Sequence[Target]) -> None:
        """Raises NotSupported, InvalidParameter for what cannot be handed over so."""
        for target in targets:
            if target.type not in self._kinds:
                raise NotSupported(f'exporter "{target.type}" could not be found')
            target.check()

    async def export(self, export: Export, targets: Sequence[Target]) -> dict[str, str]:
        """Solve the roots and hand them over; what the client is answered. The targets have been checked."""
        roots = export.roots.items()
        snapshots = {platform: await export.solve(root or SCRATCH) for platform, root in roots}
        result = Built(
            snapshots=snapshots,
            claims={
                platform: await export.attester.claims(platform, root, snapshots[platform])
                for platform, root in (roots if targets else ())
            },
        )
        answer: dict[str, str] = {}
        for target in targets:
            answer.update(await self._kinds[target.type](export, result, target))
        return answer

    # ------------------------------------------------------------ images

    async def _image(self, export: Export, built: Built, target: Target) -> dict[str, str]:
        publication = publication_of(export, built.snapshots, target, target.claims(built.claims))
        if target.flag("push") and target.flag("registry.insecure"):
            await self._refuse_unknown_insecure(target)
        if publication.is_plain and not target.needs_manifest:
            return await self._stored(export, publication.members[0].image, target)
        if target.flag("push"):
            return await self._published(export, publication, target)
        return await self._kept(export, publication, target)

    async def _refuse_unknown_insecure(self, target: Target) -> None:
        """Whom to trust is said to the engine, not by builds. Raises NotSupported."""
        is_insecure = self._store.transfers.hosts.trust.is_insecure
        for name in target.names():
            if not await run_blocking(is_insecure, name.domain):
                raise NotSupported(f"registry.insecure: name {name.domain} in insecure-registries")

    async def _kept(self, export: Export, publication: Publication, target: Target) -> dict[str, str]:
        """Into the store as it would leave: with an index, annotations, compressed layers."""
        names = target.names()
        with export.progress.internal("exporting to image") as step:
            with step.part("exporting layers"):
                made = await self._store.keep_publication(
                    names, publication, target.form(), canonical=target.flag("name-canonical")
                )
            step.status(f"exporting manifest list {made.top.digest}", done=True)
            for name in names:
                step.status(f"naming to {name}", done=True)
        return _of_publication(publication, made, names)

    async def _stored(self, export: Export, image: Image, target: Target) -> dict[str, str]:
        names = target.names()
        with export.progress.internal("exporting to image") as step:
            with step.part("exporting layers"):
                if not self._store.has(image.id):  # it is when all steps were cached
                    self._store.create(image.raw_config, image.layers)
            step.status(f"writing image {image.id}", done=True)
            for name in names:
                self._store.set_name(name, image)
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

    async def _push(self, export: Export, name: Reference, step: StepTold) -> None:
        auth = await export.receiver.credentials(name.domain)
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
                auth = await export.receiver.credentials(name.domain)
                with step.part(f"pushing {name}"):
                    made = await self._store.publish(
                        name,
                        auth,
                        publication,
                        form=target.form(),
                        say=say_of,
                        remember=target.flag("store", True),
                    )
                step.status(f"pushed {name}@{made.top.digest}", done=True)
                answer = _of_publication(publication, made, names)
        return answer

    async def _archive(self, export: Export, built: Built, target: Target) -> dict[str, str]:
        names = target.names()
        publication = publication_of(export, built.snapshots, target, target.claims(built.claims))
        what = "docker image format" if target.type == "docker" else "oci image format"
        as_tar = target.flag("tar", default=True)
        with export.progress.internal(f"exporting to {what}") as step:
            async with open_layout(
                self._store, publication, names, form=target.form(), for_docker=target.type == "docker"
            ) as (archive, made):
                described = _of_publication(publication, made, names)
                with step.part("sending tarball" if as_tar else "sending layout"):
                    if as_tar:
                        async with aclosing(archive.chunks()) as chunks:
                            await export.receiver.stream(target.number, described, chunks)
                    else:
                        await export.receiver.layout(target.number, archive)
        return described

    # ------------------------------------------------------------ files

    async def _tar(self, export: Export, built: Built, target: Target) -> dict[str, str]:
        with export.progress.internal("exporting to client tarball") as step:
            directory = await self._files(export, built, target)
            with step.part("sending tarball"):
                async with aclosing(tar_of(self._store.workers, directory)) as chunks:
                    await export.receiver.stream(target.number, {}, chunks)
        return {}

    async def _local(self, export: Export, built: Built, target: Target) -> dict[str, str]:
        with export.progress.internal("exporting to client directory") as step:
            directory = await self._files(export, built, target)
            with step.part("copying files"):
                await export.receiver.directory(target.number, directory)
        return {}

    async def _files(self, export: Export, built: Built, target: Target) -> str:
        epoch_ns = target.epoch_ns(export.epoch_ns)
        return await result_files(
            export.session, self._store.workers, built.snapshots, target, built.claims, epoch_ns
        )


def _of_publication(publication: Publication, made: Documents, names: Sequence[Reference]) -> dict[str, str]:
    return {
        "containerimage.digest": made.top.digest,
        "containerimage.descriptor": _encoded(made.top),
        **(
            _named(names) if len(publication.members) > 1 else _described(publication.members[0].image, names)
        ),
    }


def _described(image: Image, names: Sequence[Reference]) -> dict[str, str]:
    return {"containerimage.config.digest": image.id, **_named(names)}


def _named(names: Sequence[Reference]) -> dict[str, str]:
    """No name is none: clients' libraries know no empty values."""
    return {"image.name": ",".join(map(str, names))} if names else {}


def _encoded(descriptor: Descriptor) -> str:
    return base64.b64encode(msgspec.json.encode(descriptor)).decode()
