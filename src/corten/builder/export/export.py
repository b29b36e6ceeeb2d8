"""A build's result on its way to the exporters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from corten.builder.attest.attester import Attester
from corten.builder.export.ports import Receiver, Told
from corten.builder.graph import Vertex
from corten.builder.image import Layer
from corten.builder.results import Snapshot
from corten.builder.session import Session


def config_key(platform: str) -> str:
    """Where the metadata of a result has the configuration of a platform's image, "" = of the only one."""
    return f"containerimage.config/{platform}" if platform else "containerimage.config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A result and what is needed to hand it over. `roots`: by platform, in order, "" = the only one."""

    roots: Mapping[str, Vertex | None]
    metadata: Mapping[str, bytes]
    solve: Callable[[Vertex], Awaitable[Snapshot]]
    receiver: Receiver
    progress: Told
    session: Session
    epoch_ns: int | None
    attester: Attester
    inline_cache: Callable[[Sequence[Layer]], bytes] = lambda _: b""

    def config(self, platform: str) -> bytes:
        """The image's configuration as the frontend has left it, b"" = it has left none."""
        return self.metadata.get(config_key(platform), b"")
