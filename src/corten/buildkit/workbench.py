"""What all parts of one build work with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from corten.builder.session import Session
from corten.builder.sources import Images
from corten.buildkit.exchange import Exchange
from corten.buildkit.failures import Place
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.ocilayouts import OciLayouts
from corten.buildkit.progress import Progress
from corten.buildkit.sessions import ClientSession
from corten.snapshots.workers import WorkerPool


@dataclass(slots=True)
class StepTexts:
    """What the build knows of its vertices: their names, and where in a Dockerfile they stand."""

    names: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


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
