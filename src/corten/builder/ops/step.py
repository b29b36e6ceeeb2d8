"""What an operation that makes a layer is given to work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corten.builder.cachemounts import CacheMounts
from corten.builder.executor import Executor
from corten.builder.graph import Vertex
from corten.builder.results import Directory, Result, Snapshot
from corten.builder.session import Session
from corten.builder.work import Work
from corten.snapshots.uppers import Upper
from corten.snapshots.workers import WorkerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The vertex, the results of its inputs (the first is the root), and where changes go.

    `lower`: the root's layers, uppermost first. `directory`: the step's own, for whatever it needs.
    """

    vertex: Vertex
    work: Work
    inputs: Sequence[Result]
    session: Session
    workers: WorkerPool
    executor: Executor
    cache_mounts: CacheMounts
    lower: Sequence[str]
    directory: str
    upper: Upper

    @property
    def keyword(self) -> str:
        """The instruction's keyword, for messages."""
        return self.vertex.name.split(None, 1)[0].upper() if self.vertex.name else ""

    def tree(self, result: Result) -> Mapping[str, object]:
        """A result as the jobs of `builder.jobs` take it."""
        return tree_of(self.session, result)


def tree_of(session: Session, result: Result) -> Mapping[str, object]:
    """A result as the jobs of `builder.jobs` take it."""
    if isinstance(result, Directory):
        # Clamping the times of a layer's files writes to them.
        linkable = result.linkable and session.settings.epoch_ns is None
        return {"directory": result.path, "index": result.index, "linkable": linkable}
    assert isinstance(result, Snapshot)
    return {"lower": session.lower(result)}
