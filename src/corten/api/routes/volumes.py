"""Volumes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from corten.api import answers
from corten.api.request import Request
from corten.api.response import Answer
from corten.filters import Filters
from corten.types.volume import (
    Volume,
    VolumeCreateRequest,
    VolumeList,
    VolumesPruneReport,
    VolumeUpdateRequest,
)

_TAR = b"application/x-tar"
_ANONYMOUS_ONLY_SINCE = (1, 42)  # before, prune took named volumes, too


class Volumes(Protocol):
    """The engine's volumes."""

    async def list(self, filters: Filters) -> VolumeList:
        """All volumes, by name. Raises InvalidFilter."""

    async def inspect(self, name: str) -> Volume:
        """One volume. Raises NoSuchVolume."""

    async def create(self, request: VolumeCreateRequest) -> Volume:
        """Make a volume, or give back the one of that name; without a name an anonymous one.

        Raises InvalidParameter for bad names and options, NotFound for unknown drivers, Conflict.
        """

    async def remove(self, name: str, *, force: bool) -> None:
        """Delete it and its data. Raises NoSuchVolume unless `force`, Conflict while containers have it."""

    async def update(self, name: str, request: VolumeUpdateRequest) -> None:
        """Another size for a volume that has one. Raises NoSuchVolume, InvalidParameter, Conflict.

        Changing a cluster volume raises Unavailable.
        """

    async def export(self, name: str, *, pause: bool) -> AsyncIterator[bytes]:
        """A tar of what is in it; pause: the containers that have it stand still while it is copied."""

    async def import_tar(self, name: str, body: AsyncIterator[bytes]) -> Volume:
        """A new volume with what is in a tar. Raises Conflict if there is one of that name."""

    async def clone(self, name: str, to: str, *, pause: bool) -> Volume:
        """A new volume with the contents and labels of another."""

    async def rename(self, name: str, to: str) -> None:
        """Another name. Raises Conflict while containers have it."""

    async def prune(self, filters: Filters, *, named: bool) -> VolumesPruneReport:
        """Remove the local volumes that no container has. named: not only anonymous ones."""


class VolumeHandlers:
    """HTTP of volumes."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    async def list(self, request: Request) -> Answer:
        """GET /volumes."""
        return answers.document(request, await self._volumes.list(Filters.parse(request.text("filters"))))

    async def inspect(self, request: Request) -> Answer:
        """GET /volumes/{name}."""
        return answers.document(request, await self._volumes.inspect(request.params[0]))

    async def create(self, request: Request) -> Answer:
        """POST /volumes/create."""
        wanted = await request.json(VolumeCreateRequest)
        return answers.document(request, await self._volumes.create(wanted), 201)

    async def remove(self, request: Request) -> Answer:
        """DELETE /volumes/{name}."""
        await self._volumes.remove(request.params[0], force=request.flag("force"))
        return Answer(204)

    async def update(self, request: Request) -> Answer:
        """PUT /volumes/{name}."""
        wanted = await request.json(VolumeUpdateRequest)
        await self._volumes.update(request.params[0], wanted)
        return Answer(200)

    async def export(self, request: Request) -> None:
        """GET /volumes/{name}/export (ours)."""
        pause = request.flag("pause", default=True)
        async with answers.closing(await self._volumes.export(request.params[0], pause=pause)) as chunks:
            await request.send_all(chunks, _TAR)

    async def import_tar(self, request: Request) -> Answer:
        """POST /volumes/{name}/import (ours)."""
        return answers.document(request, await self._volumes.import_tar(request.params[0], request.body), 201)

    async def clone(self, request: Request) -> Answer:
        """POST /volumes/{name}/clone (ours)."""
        pause = request.flag("pause", default=True)
        name = request.text("name")
        return answers.document(request, await self._volumes.clone(request.params[0], name, pause=pause), 201)

    async def rename(self, request: Request) -> Answer:
        """POST /volumes/{name}/rename (ours)."""
        await self._volumes.rename(request.params[0], request.text("name"))
        return Answer(204)

    async def prune(self, request: Request) -> Answer:
        """POST /volumes/prune."""
        filters = Filters.parse(request.text("filters"))
        report = await self._volumes.prune(filters, named=request.version < _ANONYMOUS_ONLY_SINCE)
        return answers.document(request, report)
