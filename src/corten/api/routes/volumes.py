"""Volumes."""

from __future__ import annotations

from typing import Protocol

from corten.api import answers
from corten.api.request import Request
from corten.api.response import Answer
from corten.filters import Filters
from corten.types.volume import Volume, VolumeCreateRequest, VolumeList, VolumesPruneReport

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

    async def update(self, name: str) -> None:
        """Change a cluster volume. Raises Unavailable."""

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
        wanted = await request.json(VolumeCreateRequest, optional=True)
        return answers.document(request, await self._volumes.create(wanted), 201)

    async def remove(self, request: Request) -> Answer:
        """DELETE /volumes/{name}."""
        await self._volumes.remove(request.params[0], force=request.flag("force"))
        return Answer(204)

    async def update(self, request: Request) -> Answer:
        """PUT /volumes/{name}."""
        await self._volumes.update(request.params[0])
        return Answer(200)

    async def prune(self, request: Request) -> Answer:
        """POST /volumes/prune."""
        filters = Filters.parse(request.text("filters"))
        report = await self._volumes.prune(filters, named=request.version < _ANONYMOUS_ONLY_SINCE)
        return answers.document(request, report)
