"""What the exporters ask of whoever has asked for a build: to be told of progress, to take results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from corten.images.save import Archive
from corten.types.system import AuthConfig


class StepTold(Protocol):
    """A step that its watchers see."""

    def status(self, identifier: str, *, current: int = 0, total: int = 0, done: bool = False) -> None:
        """How far a part of it is, in bytes."""

    def part(self, identifier: str) -> AbstractContextManager[None]:
        """A part of it that is done, or fails, within the block."""


class Told(Protocol):
    """A build as its watchers see it."""

    def internal(self, name: str) -> AbstractContextManager[StepTold]:
        """A step of our own, for the time of the block."""


class Receiver(Protocol):
    """A client that results go to. `number`: of the exporter, so that it knows whose they are."""

    async def stream(self, number: int, described: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """Bytes that become a file. `described`: what they are."""

    async def directory(self, number: int, path: str) -> None:
        """A tree of ours, that does not change meanwhile, becomes a directory."""

    async def layout(self, number: int, archive: Archive) -> None:
        """An archive's content becomes an OCI layout in a directory."""

    async def credentials(self, domain: str) -> AuthConfig | None:
        """The client's for a registry, None without any."""
