"""Containers that a build's client, or a frontend, has us make, to run processes in (LLBBridge.NewContainer).

Source: moby/buildkit, frontend/gateway/gateway.go (texts, codes).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from corten.builder.executor import BuildContainer
from corten.errors import NotFound

_MAX = 64  # of one build


class Containers:
    """Those of one driver, by the ids it gives them. Event loop's thread only."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[BuildContainer, AsyncExitStack]] = {}
        self._opening: set[str] = set()

    async def open(self, identifier: str, made: AbstractAsyncContextManager[BuildContainer]) -> None:
        """Take a container, until it is released. Raises GRPCError, and what making it raises."""
        if identifier in self._open or identifier in self._opening:
            raise GRPCError(Status.ALREADY_EXISTS, f"Container {identifier} already exists")
        if len(self._open) + len(self._opening) >= _MAX:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many containers in one build")
        self._opening.add(identifier)
        try:
            stack = AsyncExitStack()
            container = await stack.enter_async_context(made)
            self._open[identifier] = (container, stack)
        finally:
            self._opening.discard(identifier)

    def get(self, identifier: str) -> BuildContainer:
        """The container of this id. Raises GRPCError."""
        if identifier not in self._open:
            raise GRPCError(Status.NOT_FOUND, f'container "{identifier}" previously released or not created')
        return self._open[identifier][0]

    async def release(self, identifier: str) -> None:
        """End a container and what runs in it. Raises NotFound."""
        if identifier not in self._open:
            raise NotFound(f"container details for {identifier} not found")
        _, stack = self._open.pop(identifier)
        await stack.aclose()

    async def close(self) -> None:
        """Release all."""
        for identifier in [*self._open]:
            await self.release(identifier)
