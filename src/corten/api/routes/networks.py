"""Networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from corten.api import answers
from corten.api.request import Request
from corten.api.response import Answer
from corten.filters import Filters
from corten.types.network import Network, NetworksPruneReport


class Networks(Protocol):
    """The engine's networks. `ref`: name, id or unambiguous prefix of an id."""

    async def list(self, filters: Filters) -> Sequence[Network]:
        """All networks, without their containers."""

    async def inspect(self, ref: str) -> Network:
        """One network with its containers. Raises NoSuchNetwork."""

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
        return answers.document(request, await self._networks.inspect(request.params[0]))

    async def prune(self, request: Request) -> Answer:
        """POST /networks/prune."""
        return answers.document(request, await self._networks.prune(Filters.parse(request.text("filters"))))
