"""Networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from corten.api import answers
from corten.api.request import Request
from corten.api.response import NO_CONTENT, Answer
from corten.errors import NoSuchNetwork
from corten.filters import Filters
from corten.types.network import (
    Network,
    NetworkConnect,
    NetworkCreate,
    NetworkCreateResponse,
    NetworkDisconnect,
    NetworksPruneReport,
)


class Networks(Protocol):
    """The engine's networks. `ref`: name, id or unambiguous prefix of an id."""

    async def list(self, filters: Filters) -> Sequence[Network]:
        """All networks, without their containers."""

    async def inspect(self, ref: str) -> Network:
        """One network with its containers. Raises NoSuchNetwork."""

    async def create(self, request: NetworkCreate) -> NetworkCreateResponse:
        """Make a network. Raises InvalidParameter, Forbidden, Conflict, NotFound, NotSupported, ...."""

    async def remove(self, ref: str) -> None:
        """Remove a network that no running container is on. Raises NoSuchNetwork, Forbidden."""

    async def connect(self, ref: str, request: NetworkConnect) -> None:
        """Connect a container, at once if it runs. Raises NoSuchNetwork, NoSuchContainer, Forbidden, ...."""

    async def disconnect(self, ref: str, request: NetworkDisconnect) -> None:
        """Disconnect a container, at once if it runs. Raises as `connect`."""

    async def prune(self, filters: Filters) -> NetworksPruneReport:
        """Remove the unused ones that users made."""


class NetworkHandlers:
    """HTTP of networks."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    async def list(self, request: Request) -> Answer:
        """GET /networks."""
        return answers.documents(request, await self._networks.list(Filters.parse(request.text("filters"))))

    async def inspect(self, request: Request) -> Answer:
        """GET /networks/{id}."""
        network = await self._networks.inspect(request.params[0])
        if (request.text("scope") or network.scope) != network.scope:
            raise NoSuchNetwork(request.params[0])
        return answers.document(request, network)

    async def create(self, request: Request) -> Answer:
        """POST /networks/create."""
        wanted = await request.json(NetworkCreate)
        return answers.document(request, await self._networks.create(wanted), 201)

    async def remove(self, request: Request) -> Answer:
        """DELETE /networks/{id}."""
        await self._networks.remove(request.params[0])
        return NO_CONTENT

    async def connect(self, request: Request) -> Answer:
        """POST /networks/{id}/connect."""
        await self._networks.connect(request.params[0], await request.json(NetworkConnect))
        return Answer(200)

    async def disconnect(self, request: Request) -> Answer:
        """POST /networks/{id}/disconnect."""
        wanted = await request.json(NetworkDisconnect)
        await self._networks.disconnect(request.params[0], wanted)
        return Answer(200)

    async def prune(self, request: Request) -> Answer:
        """POST /networks/prune."""
        return answers.document(request, await self._networks.prune(Filters.parse(request.text("filters"))))
