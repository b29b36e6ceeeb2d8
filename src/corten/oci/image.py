"""The documents of the OCI image specification 1.1, and Docker's older ones of the same shape.

Source: opencontainers/image-spec v1.1: descriptor.md, manifest.md, image-index.md, config.md,
image-layout.md; manifest-v2-2.md of distribution. Documents are identified by the digest of their bytes:
keep the bytes, decode for reading only. Members that we do not know are ignored.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from corten.digest import Digest, is_digest
from corten.errors import InvalidParameter
from corten.platforms import Platform, normalized

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER}+zstd"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = f"{DOCKER_LAYER}.gzip"
OCI_LAYER_OF = {DOCKER_LAYER: OCI_LAYER, DOCKER_LAYER_GZIP: OCI_LAYER_GZIP}
"""What OCI calls a layer of one of Docker's media types."""
DOCKER_MANIFEST_V1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

# What registries accept at least (distribution-spec, "Pushing Manifests"), and Docker at most.
MAX_MANIFEST_BYTES = 4 << 20
MAX_CONFIG_BYTES = 8 << 20
MAX_LAYERS = 1000


class InvalidDocument(InvalidParameter):
    """A manifest, index or config that does not follow the specification."""


class _Camel(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Base of manifests: camelCase, defaults left out."""


class DescriptorPlatform(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`platform` of a descriptor in an index."""

    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    variant: str = ""

    def normalized(self) -> Platform:
        """The same as a value that can be compared."""
        return normalized(self.os, self.architecture, self.variant)


class Descriptor(_Camel, kw_only=True):
    """Points at content; size in bytes."""

    media_type: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: DescriptorPlatform | None = None
    artifact_type: str = ""


class Manifest(_Camel, kw_only=True):
    """An image for one platform."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(_Camel, kw_only=True):
    """Manifests for several platforms, or of several images in a layout."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    manifests: list[Descriptor]
    annotations: dict[str, str] | None = None


class Healthcheck(msgspec.Struct, rename="pascal", omit_defaults=True, kw_only=True):
    """Default probe; durations in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ImageConfig(msgspec.Struct, rename="pascal", omit_defaults=True, kw_only=True):
    """`config` of an image: the defaults for its containers."""

    user: str = ""
    exposed_ports: dict[str, dict[str, object]] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, object]] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None


class History(msgspec.Struct, omit_defaults=True, kw_only=True):
    """How one layer (or, with empty_layer, none) came to be; created is RFC 3339."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, kw_only=True):
    """The layers' diff ids, lowest first."""

    type: str = msgspec.field(default_factory=lambda: "layers")
    diff_ids: list[Digest] | None = msgspec.field(default_factory=list)


class ImageDocument(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The image configuration, whose digest is the image's id."""

    created: str | None = None
    author: str = ""
    architecture: str = ""
    variant: str = ""
    os: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    config: ImageConfig | None = None
    rootfs: RootFS
    history: list[History] | None = None
    # Docker's own members
    comment: str = ""
    container: str = ""
    docker_version: str = ""

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return normalized(self.os or "linux", self.architecture, self.variant)

    @property
    def diff_ids(self) -> list[Digest]:
        """The layers, lowest first."""
        return self.rootfs.diff_ids or []


class ArchiveItem(msgspec.Struct, rename="pascal", kw_only=True, omit_defaults=True):
    """One image in the manifest.json of a docker-archive; paths are inside the archive."""

    config: str
    repo_tags: list[str] | None = msgspec.field(default_factory=lambda: None)
    layers: list[str] | None = msgspec.field(default_factory=lambda: None)


T = TypeVar("T")


def decode(data: bytes, kind: type[T], what: str) -> T:
    """The document in `data`. Raises InvalidDocument, naming it `what`, whatever is wrong with it."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise InvalidDocument(f"invalid {what}: {e}") from e


def decode_config(data: bytes) -> ImageDocument:
    """An image configuration with sound layers. Raises InvalidDocument."""
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidDocument("invalid image config: too large")
    document = decode(data, ImageDocument, "image config")
    if document.rootfs.type != "layers":
        raise InvalidDocument(f"invalid image config: unknown rootfs type {document.rootfs.type[:40]!r}")
    if len(document.diff_ids) > MAX_LAYERS:
        raise InvalidDocument("max depth exceeded")
    if not all(is_digest(d) and d.startswith("sha256:") for d in document.diff_ids):
        raise InvalidDocument("invalid image config: malformed diff id")
    return document


def decode_manifest(data: bytes) -> Manifest:
    """An image manifest whose digests and sizes are well-formed. Raises InvalidDocument."""
    manifest = decode(data, Manifest, "manifest")
    if manifest.schema_version != 2:
        raise InvalidDocument(f"unsupported manifest schema version {manifest.schema_version}")
    if len(manifest.layers) > MAX_LAYERS:
        raise InvalidDocument("max depth exceeded")
    for descriptor in (manifest.config, *manifest.layers):
        _check(descriptor)
    return manifest


def decode_index(data: bytes) -> Index:
    """An image index (manifest list). Raises InvalidDocument."""
    index = decode(data, Index, "image index")
    for descriptor in index.manifests:
        _check(descriptor)
    return index


def _check(descriptor: Descriptor) -> None:
    if not is_digest(descriptor.digest) or descriptor.size < 0:
        raise InvalidDocument("invalid manifest: malformed descriptor")


def kind_of(data: bytes, media_type: str) -> str:
    """The media type a manifest really has: its own `mediaType`, else the one it was served under.

    Raises InvalidDocument if it could be read as two things (CVE-2021-41190).
    """
    probe = decode(data, _Probe, "manifest")
    if probe.media_type and media_type and media_type in INDEX_TYPES + MANIFEST_TYPES:
        same = (probe.media_type in INDEX_TYPES) == (media_type in INDEX_TYPES)
        if not same:
            raise InvalidDocument(
                f"manifest is served as {media_type} but says it is {probe.media_type[:100]}"
            )
    if isinstance(probe.manifests, msgspec.Raw) and isinstance(probe.layers, msgspec.Raw):
        raise InvalidDocument("invalid manifest: it is an index and a manifest at once")
    if probe.schema_version == 1:
        return DOCKER_MANIFEST_V1
    return (
        probe.media_type
        or media_type
        or (OCI_INDEX if isinstance(probe.manifests, msgspec.Raw) else OCI_MANIFEST)
    )


class _Probe(msgspec.Struct, rename="camel", kw_only=True):
    schema_version: int = 0
    media_type: str = ""
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
