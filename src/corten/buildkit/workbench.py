"""What all parts of one build work with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from corten.builder.attest.provenance import Source
from corten.builder.session import Session
from corten.builder.sources import Images
from corten.buildkit.exchange import Exchange
from corten.buildkit.failures import Place
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.ocilayouts import OciLayouts
from corten.buildkit.progress import Progress
from corten.buildkit.sessions import ClientSession
from corten.digest import Digest
from corten.snapshots.workers import WorkerPool


@dataclass(slots=True)
class StepTexts:
    """What the build knows of its vertices: their names, and where in a Dockerfile they stand."""

    names: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    def source(self) -> Source | None:
        """The file that the steps stand in, as provenance shows it; None if it is not known."""
        first = next(iter(self.places.values()), None)
        if first is None:
            return None
        return Source(
            filename=first.source.filename,
            data=first.source.data,
            language=first.source.language,
            places={
                Digest(digest): (place.line, place.end_line)
                for digest, place in self.places.items()
                if place.source == first.source
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """`session`: the builder's, with the build's directories. `client`: the client's, to be called.

    `body`: the tar of the context `BODY`.
    """

    session: Session
    client: ClientSession
    workers: WorkerPool
    images: Images
    progress: Progress
    tasks: asyncio.TaskGroup
    texts: StepTexts
    exchange: Exchange
    kept: KeptContexts
    layouts: OciLayouts
    body: AsyncIterator[bytes] | None = None
