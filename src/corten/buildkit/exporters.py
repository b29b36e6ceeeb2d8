"""What becomes of a build's result: an image of the store, an archive or files at the client, a push."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from corten.builder.graph import SCRATCH, Vertex
from corten.builder.image import ImageState, base_image, document, scratch_image
from corten.builder.results import Snapshot
from corten.builder.session import Session
from corten.buildkit.progress import Progress
from corten.buildkit.sessions import ClientSession
from corten.digest import Digest
from corten.errors import InvalidParameter, NotSupported
from corten.images import Image, ImageLayer, ImageStore
from corten.oci.image import OCI_CONFIG
from corten.platforms import host_platform
from corten.reference import parse_normalized

CONFIG = "containerimage.config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An exporter asked for. `number`: which of them, so that the client knows whose files come."""

    type: str
    attributes: Mapping[str, str]
    number: int = 0


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

    def state(self, platform: str) -> ImageState:
        """The image's configuration as the frontend has left it."""
        config = self.metadata.get(f"{CONFIG}/{platform}" if platform else CONFIG)
        return base_image(config) if config else scratch_image(host_platform())


class Exporters:
    """Hands results over. Event loop's thread only."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def export(self, export: Export, targets: Sequence[Target]) -> dict[str, str]:
        """Solve the roots and hand them over; what the client is answered."""
        kinds = {"moby": self._image, "image": self._image}
        for target in targets:
            if target.type not in kinds:
                raise NotSupported(f"exporter {target.type!r} is not supported")
        snapshots = {platform: await export.solve(root or SCRATCH) for platform, root in export.roots.items()}
        answer: dict[str, str] = {}
        for target in targets:
            answer.update(await kinds[target.type](export, snapshots, target))
        return answer

    async def _image(
        self, export: Export, snapshots: Mapping[str, Snapshot], target: Target
    ) -> dict[str, str]:
        if len(snapshots) != 1:
            raise NotSupported("the image store holds images of one platform")
        [(platform, snapshot)] = snapshots.items()
        names = [parse_normalized(name).with_default_tag() for name in _names(target)]
        for name in names:
            if name.digest is not None:
                raise InvalidParameter("build tag cannot contain a digest")
        with export.progress.internal("exporting to image") as step:
            with step.part("exporting layers"):
                image = self._create(export.state(platform), snapshot, export.epoch_ns)
            step.status(f"writing image {image.id}", done=True)
            for name in names:
                self._store.tag(image.id, str(name))
                step.status(f"naming to {name}", done=True)
        descriptor = {
            "mediaType": OCI_CONFIG,
            "digest": image.id,
            "size": len(image.raw_config),
        }
        return {
            "containerimage.digest": image.id,
            "containerimage.config.digest": image.id,
            "containerimage.descriptor": base64.b64encode(msgspec.json.encode(descriptor)).decode(),
            "image.name": ",".join(str(name) for name in names),
        }

    def _create(self, state: ImageState, snapshot: Snapshot, epoch_ns: int | None) -> Image:
        config = document(state, snapshot.layers, epoch_ns)
        layers = [ImageLayer(diff_id=Digest(layer.diff_id)) for layer in snapshot.layers]
        return self._store.create(config, layers)


def _names(target: Target) -> list[str]:
    return [name for name in target.attributes.get("name", "").split(",") if name]
