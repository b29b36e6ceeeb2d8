"""Networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
