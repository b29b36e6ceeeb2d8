"""Exec instances."""

from __future__ import annotations

from typing import Protocol

from corten.types.exec import ExecConfig, ExecCreateResponse, ExecInspect, ExecStartConfig
from corten.types.operations import Attachment


class Execs(Protocol):
    """The engine's exec instances. All raise NoSuchExec for an unknown id."""

    async def create(self, container: str, config: ExecConfig) -> ExecCreateResponse:
        """Prepare a process. Raises NoSuchContainer, Conflict if it does not run, InvalidParameter."""

    async def check(self, exec_id: str) -> None:
        """Raise what forbids to start it (NoSuchExec, Conflict): asked before the stream is opened."""

    async def start(self, exec_id: str, config: ExecStartConfig) -> Attachment:
        """Run it and hand over its stdio. What this raises the client reads on the stream."""

    async def start_detached(self, exec_id: str, config: ExecStartConfig) -> None:
        """Run it without stdio."""

    async def inspect(self, exec_id: str) -> ExecInspect:
        """Its state; kept for a while after its end, so that clients can ask for the exit code."""

    async def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Set the size of its terminal."""
