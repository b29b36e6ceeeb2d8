"""Checkpoints of containers."""

from __future__ import annotations

from typing import Protocol

from corten.api import answers
from corten.api.request import Request
from corten.api.response import NO_CONTENT, Answer
from corten.types.checkpoint import Checkpoint, CheckpointCreate


class Checkpoints(Protocol):
    """Containers' processes in files. All raise NoSuchContainer; directory "" is the container's own."""

    async def create(self, ref: str, request: CheckpointCreate) -> None:
        """Write one. Raises InvalidParameter, Conflict (exists, not running), NotSupported, InternalError."""

    async def list(self, ref: str, directory: str) -> list[Checkpoint]:
        """All there are, by name."""

    async def remove(self, ref: str, name: str, directory: str) -> None:
        """Delete one. Raises NotFound, InvalidParameter."""


class CheckpointHandlers:
    """HTTP of checkpoints."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    async def create(self, request: Request) -> Answer:
        """POST /containers/{id}/checkpoints."""
        await self._checkpoints.create(request.params[0], await request.json(CheckpointCreate))
        return Answer(201)

    async def list(self, request: Request) -> Answer:
        """GET /containers/{id}/checkpoints."""
        return answers.documents(
            request, await self._checkpoints.list(request.params[0], request.text("dir"))
        )

    async def remove(self, request: Request) -> Answer:
        """DELETE /containers/{id}/checkpoints/{checkpoint}."""
        container, name = request.params
        await self._checkpoints.remove(container, name, request.text("dir"))
        return NO_CONTENT
