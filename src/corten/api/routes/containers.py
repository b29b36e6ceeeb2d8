"""Containers."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from corten.filters import Filters
from corten.types.container import (
    ContainerInspect,
    ContainersPruneReport,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    WaitResponse,
)
from corten.types.operations import (
    Attachment,
    AttachOptions,
    ContainerListOptions,
    LogsOptions,
    LogStream,
    WaitCondition,
)


class Containers(Protocol):
    """The engine's containers. `ref`: name, id or unambiguous prefix of an id.

    All raise NoSuchContainer for an unknown ref, Conflict for an ambiguous one.
    """

    async def create(self, name: str, request: CreateRequest, platform: str) -> CreateResponse:
        """Make a container; name "" = invent one, platform "" = the host's.

        Raises NoSuchImage (the client then pulls), Conflict for a taken name, InvalidParameter.
        """

    async def list(self, options: ContainerListOptions) -> Sequence[ContainerSummary]:
        """Containers, newest first."""

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """Everything about one; `size` fills SizeRw and SizeRootFs."""

    async def start(self, ref: str) -> None:
        """Start it. Raises NotModified if it runs."""

    async def stop(self, ref: str, *, timeout_s: int | None, signal: str) -> None:
        """Signal it ("" = its StopSignal), and kill it after timeout_s (None = its own, -1 = never).

        Raises NotModified if it does not run.
        """

    async def restart(self, ref: str, *, timeout_s: int | None, signal: str) -> None:
        """Stop it if it runs, then start it."""

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal: name with or without SIG, number, "" = KILL. Raises Conflict if it does not run."""

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name. Raises Conflict if that is taken."""

    async def resize(self, ref: str, rows: int, columns: int) -> None:
        """Set the size of its terminal. Raises Conflict if it does not run."""

    async def wait(self, ref: str, condition: WaitCondition) -> Awaitable[WaitResponse]:
        """Register interest at once and return what delivers the result.

        Two phases, because clients start the container only when the answer's head has arrived:
        an exit after this returned must not be missed. Cancelling the awaitable ends the interest.
        """

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, killing it first if `force`; `volumes`: its anonymous volumes too."""

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Connect to its stdio; a container not yet started is fine. Raises Conflict if it is paused."""

    async def logs(self, ref: str, options: LogsOptions) -> LogStream:
        """Open its log."""

    async def prune(self, filters: Filters) -> ContainersPruneReport:
        """Remove the stopped ones (filters: until, label, label!)."""
