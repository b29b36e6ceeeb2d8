"""Images."""

from __future__ import annotations

import msgspec

from corten.types.document import Document, Empty


class OCIPlatform(Document, kw_only=True, rename="lower"):
    """Operating system and processor of a manifest."""

    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    variant: str = ""


class Descriptor(Document, kw_only=True, rename="camel"):
    """OCI content descriptor; size in bytes."""

    media_type: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    data: str | None = None
    platform: OCIPlatform | None = None
    artifact_type: str = ""


class ImageHealthcheck(Document, kw_only=True):
    """Default probe of an image; durations in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ImageConfig(Document, kw_only=True):
    """Defaults of an image for its containers; what is empty is left out."""

    user: str = ""
    exposed_ports: dict[str, Empty] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Empty] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: ImageHealthcheck | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None


class RootFS(Document, kw_only=True):
    """Layers as diff ids, lowest first."""

    type: str
    layers: list[str] | None = None


class ImageGraphDriver(Document, kw_only=True):
    """The storage driver's view of the image."""

    data: dict[str, str] | None
    name: str


class ImageMetadata(Document, kw_only=True):
    """What the engine knows beyond the image itself."""

    last_tag_time: str = "0001-01-01T00:00:00Z"


class ManifestSize(Document, kw_only=True):
    """Bytes: of what travels, and with what is unpacked."""

    content: int
    total: int


class UnpackedSize(Document, kw_only=True):
    """Bytes."""

    unpacked: int


class ManifestImage(Document, kw_only=True):
    """A manifest's image; containers are ids."""

    platform: OCIPlatform
    containers: list[str]
    size: UnpackedSize


class ManifestAttestation(Document, kw_only=True):
    """What a manifest is an attestation of: a digest."""

    for_: str = msgspec.field(name="For")


class ManifestSummary(Document, kw_only=True):
    """One manifest of an image's index. kind: image, attestation or unknown."""

    id: str = msgspec.field(name="ID")
    descriptor: Descriptor
    available: bool
    size: ManifestSize
    kind: str
    image_data: ManifestImage | None = None
    attestation_data: ManifestAttestation | None = None


class AttestationStatement(Document, kw_only=True):
    """An item of GET /images/{name}/attestations. statement: in-toto JSON, verbatim."""

    descriptor: Descriptor
    predicate_type: str
    statement: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ImageInspect(Document, kw_only=True):
    """Answer of GET /images/{name}/json. Size in bytes."""

    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    parent: str
    comment: str
    created: str = ""
    docker_version: str
    author: str
    config: ImageConfig | None
    architecture: str
    variant: str = ""
    os: str
    os_version: str = ""
    size: int
    graph_driver: ImageGraphDriver
    root_fs: RootFS = msgspec.field(name="RootFS")
    metadata: ImageMetadata
    descriptor: Descriptor | None = None
    manifests: list[ManifestSummary] | None = None


class ImageSummary(Document, kw_only=True):
    """An item of GET /images/json. Created in seconds; Containers and SharedSize -1 = not counted."""

    containers: int
    created: int
    id: str
    labels: dict[str, str] | None
    parent_id: str
    descriptor: Descriptor | None = None
    manifests: list[ManifestSummary] | None = None
    repo_digests: list[str]
    repo_tags: list[str]
    shared_size: int
    size: int


class HistoryItem(Document, kw_only=True):
    """A line of GET /images/{name}/history, newest first; Id may be "<missing>"."""

    comment: str
    created: int
    created_by: str
    id: str
    size: int
    tags: list[str] | None


class DeleteItem(Document, kw_only=True):
    """What removing an image did, step by step: a name gone or an id gone."""

    deleted: str = ""
    untagged: str = ""


class ImagesPruneReport(Document, kw_only=True):
    """Answer of POST /images/prune; bytes."""

    images_deleted: list[DeleteItem] | None
    space_reclaimed: int
