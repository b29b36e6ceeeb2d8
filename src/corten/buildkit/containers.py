"""Containers that a build's client, or a frontend, has us make, to run processes in (LLBBridge.NewContainer).

Source: moby/buildkit, frontend/gateway/gateway.go (texts, codes).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

from corten.builder.executor import BindDirectory, BuildContainer, ExecSpec
from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.looking import Tree
from corten.errors import InvalidParameter, NotFound

_MAX = 64  # of one build


@dataclass(frozen=True, slots=True)
class OpenContainer:
    """A container, what it was made of, and where the mounts are that its client has named."""

    made: BuildContainer
    spec: ExecSpec
    targets: Sequence[str]

    def tree(self, number: int) -> Tree:
        """The files of the client's mount of this number, as they are now. Raises InvalidParameter."""
        if not 0 <= number < len(self.targets):
            raise InvalidParameter(f"mount index {number} is out of bounds ({len(self.targets)} available)")
        target = self.targets[number]
        if target == "/":
            return {"lower": [self.spec.upper, *self.spec.lower]}
        for mount in self.spec.mounts:
            if isinstance(mount, BindDirectory) and mount.target == target and os.path.isdir(mount.source):
                return {"directory": mount.source}
        raise InvalidParameter(f"the mount at {target} is no directory that can be looked into")


class Containers:
    """Those of one driver, by the ids it gives them. Event loop's thread only."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[OpenContainer, AsyncExitStack]] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self, identifier: str, made: AbstractAsyncContextManager[OpenContainer]) -> None:
        """Take a container, until it is released. Raises GRPCError, and what making it raises."""
        if self._closed:
            raise _over()
        if identifier in self._open or identifier in self._opening:
            raise GRPCError(Status.ALREADY_EXISTS, f"Container {identifier} already exists")
        if len(self._open) + len(self._opening) + len(self._ending) >= _MAX:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many containers in one build")
        opening = self._opening[identifier] = asyncio.ensure_future(self._enter(identifier, made))
        opening.add_done_callback(lambda _: self._opening.pop(identifier))
        try:
            await opening
        except asyncio.CancelledError:
            if self._closed:
                raise _over() from None
            raise

    async def _enter(self, identifier: str, made: AbstractAsyncContextManager[OpenContainer]) -> None:
        stack = AsyncExitStack()
        self._open[identifier] = (await stack.enter_async_context(made), stack)

    def get(self, identifier: str) -> OpenContainer:
        """The container of this id. Raises GRPCError."""
        if identifier not in self._open:
            raise GRPCError(Status.NOT_FOUND, f'container "{identifier}" previously released or not created')
        return self._open[identifier][0]

    async def release(self, identifier: str) -> None:
        """End a container and what runs in it. Raises NotFound."""
        if identifier not in self._open:
            raise NotFound(f"container details for {identifier} not found")
        await asyncio.shield(self._end(identifier))  # to its end, whoever waits for it

    def _end(self, identifier: str) -> asyncio.Task[None]:
        _, stack = self._open.pop(identifier)
        ending = asyncio.ensure_future(stack.aclose())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def close(self) -> None:
        """Release all, for good: who asks for one now, or is about to get one, gets none."""
        self._closed = True
        for opening in (openings := [*self._opening.values()]):
            opening.cancel()
        if openings:
            await asyncio.wait(openings)  # what it comes to is told to who has asked
        if endings := [*self._ending, *map(self._end, [*self._open])]:
            for outcome in await asyncio.gather(*endings, return_exceptions=True):
                if outcome is not None:
                    raise outcome


def _over() -> GRPCError:
    return GRPCError(Status.FAILED_PRECONDITION, "the build has ended")
