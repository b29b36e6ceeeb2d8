"""The engine's side of a process that serves containers and outlives us: netd, the relay.

What it knows is told again in whole whenever the connection to it is new: after our own start, and after its.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any

from corten.engine.tasks import Background
from corten.errors import CortenError
from corten.runtimes.connection import Connection
from corten.runtimes.protocol import Runtime

log = logging.getLogger(__name__)

_RETRY_S = 0.2


class Companion(ABC):
    """Belongs to the event loop's thread."""

    role: str

    def __init__(self, runtime: Runtime, background: Background) -> None:
        self._runtime = runtime
        self._background = background
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    @abstractmethod
    async def _tell_everything(self, connection: Connection) -> None:
        """Have it know what we know."""

    @abstractmethod
    def _is_needed(self) -> bool:
        """Whether somebody running depends on it."""

    async def ready(self) -> None:
        """Return when it is there and knows everything. Raises InternalError."""
        if self._connection is not None and not self._connection.lost:
            return
        async with self._connecting:
            if self._connection is None or self._connection.lost:
                connection = await self._runtime.companion(self.role, self._lost, self._heard)
                await self._tell_everything(connection)
                self._connection = connection

    async def restore(self) -> None:
        """After a start: take it over if it is there, or if anybody needs it."""
        if self._runtime.has_companion(self.role) or self._is_needed():
            await self.ready()

    def _heard(self, event: dict[str, Any]) -> None:
        """It tells something of its own accord."""
        log.debug("told", extra={"by": self.role, "event": event.get("event")})

    def _lost(self) -> None:
        if not self._closed:
            self._background.start(self._again(), f"reach {self.role} again")

    async def _again(self) -> None:
        while not self._closed:
            try:
                await self.ready()
                return
            except CortenError as error:
                log.warning(f"{self.role} is not to be reached", extra={"reason": str(error)})
                await asyncio.sleep(_RETRY_S)

    def close(self) -> None:
        """Hang up; it goes on."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()
