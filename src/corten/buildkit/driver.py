"""Who drives a build through the bridge: its client, or a frontend that runs as a container."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from corten.builder.graph import Vertex
from corten.buildkit.containers import Containers
from corten.buildkit.proto.llb_pb2 import Definition
from corten.errors import InvalidParameter

if TYPE_CHECKING:
    from corten.buildkit.build import Build


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is to be exported: roots by platform ("" = the only one; None = nothing at all), metadata."""

    roots: Mapping[str, Vertex | None]
    metadata: Mapping[str, bytes]


def _future() -> asyncio.Future[Outcome]:
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True)
class Driver:
    """One of a build's. `inputs`: what it has been given; `containers`: what it runs processes in.

    `returned`: its last word.
    """

    build: Build
    inputs: Mapping[str, Definition]
    containers: Containers = field(default_factory=Containers)
    returned: asyncio.Future[Outcome] = field(default_factory=_future)

    def finish(self, outcome: Outcome) -> None:
        """It is done. Raises InvalidParameter if it has said so before."""
        if self.returned.done():
            raise InvalidParameter("return has been called already")
        self.returned.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """It gives up, unless it has ended: then this is of no interest."""
        if not self.returned.done():
            self.returned.set_exception(error)
            self.returned.exception()  # whoever waits sees it; nobody need wait
