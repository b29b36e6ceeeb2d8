"""Building images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from corten.filters import Filters
from corten.types.operations import BuildOptions
from corten.types.progress import JSONMessage
from corten.types.system import BuildPruneReport


class Builder(Protocol):
    """The engine's builder."""

    def build(self, options: BuildOptions, context: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        """Build from a context (tar, plain or compressed; empty if `options.remote`).

        What is raised before the first message becomes the HTTP status, what comes later the last line of
        the stream. A failed command is raised as `progress.StreamFailure` with its exit code. The iterator is
        closed when the client goes away, which cancels the build.
        """

    async def prune(self, filters: Filters, *, all: bool, keep_bytes: int) -> BuildPruneReport:
        """Remove build cache that is not in use."""
