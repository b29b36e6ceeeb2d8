"""Volumes."""

from __future__ import annotations

from corten.types.document import Document, Empty, always


class VolumeUsage(Document, kw_only=True):
    """Bytes and containers; -1 = not counted."""

    ref_count: int
    size: int


class Volume(Document, kw_only=True):
    """Answer of GET /volumes/{name}."""

    created_at: str = ""
    driver: str
    labels: dict[str, str] | None
    mountpoint: str
    name: str
    options: dict[str, str] | None
    scope: str
    status: Empty | None = None
    usage_data: VolumeUsage | None = None


class VolumeCreateRequest(Document, kw_only=True):
    """Body of POST /volumes/create; no name = an anonymous volume."""

    driver: str = always("")
    driver_opts: dict[str, str] | None = always(None)
    labels: dict[str, str] | None = always(None)
    name: str = always("")
    cluster_volume_spec: Empty | None = None


class VolumeUpdateRequest(Document, kw_only=True):
    """Body of PUT /volumes/{name}: `DriverOpts` is ours; Docker's `Spec` is about cluster volumes."""

    driver_opts: dict[str, str] | None = None


class VolumeList(Document, kw_only=True):
    """Answer of GET /volumes."""

    volumes: list[Volume]
    warnings: list[str] | None


class VolumesPruneReport(Document, kw_only=True):
    """Answer of POST /volumes/prune; bytes."""

    volumes_deleted: list[str]
    space_reclaimed: int
