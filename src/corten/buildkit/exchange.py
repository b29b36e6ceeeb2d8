"""Results of builds that other builds begin with: bake's linked targets (`contexts={base="target:x"}`).

A client gets a definition for what a frontend has built and may hand it back as an input of another build.
Ours holds one source with a name of ours; who brings it back gets the layers, once they are made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from corten.builder.graph import ImageSource, Vertex
from corten.builder.results import Snapshot
from corten.buildkit.proto.llb_pb2 import Definition, Input, Op, SourceOp
from corten.digest import digest_of
from corten.errors import NotFound

SCHEME = "corten-result://"
_KEPT = 1000

Solver = Callable[[Vertex], Awaitable[Snapshot]]


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a build that runs could make."""

    vertex: Vertex
    solve: Solver


class Exchange:
    """Results by the digest of their vertex. Event loop's thread only."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Snapshot | _Offer] = OrderedDict()

    def offer(self, vertex: Vertex, solve: Solver) -> Definition:
        """A definition of the vertex, which `solve` can make until it is withdrawn."""
        self._known.setdefault(vertex.digest, _Offer(vertex, solve))
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return _definition(f"{SCHEME}{vertex.digest}")

    def made(self, vertex: Vertex, snapshot: Snapshot) -> None:
        """Its build has made it."""
        if vertex.digest in self._known:
            self._known[vertex.digest] = snapshot

    def withdraw(self, solve: Solver) -> None:
        """Its build has ended; what it has not made nobody can have."""
        for digest, known in [*self._known.items()]:
            if isinstance(known, _Offer) and known.solve == solve:
                del self._known[digest]

    async def take(self, identifier: str) -> Vertex:
        """The layers behind a source of ours. Raises NotFound, and what making them raises."""
        digest = identifier.removeprefix(SCHEME)
        known = self._known.get(digest)
        if known is None:
            raise NotFound(f"no such result of a build: {digest}")
        snapshot = known if isinstance(known, Snapshot) else await known.solve(known.vertex)
        layers = snapshot.layers
        source = ImageSource(
            diff_ids=tuple(layer.diff_id for layer in layers),
            created_ns=tuple(layer.created_ns for layer in layers),
        )
        return Vertex(op=source, name=digest)


def _definition(identifier: str) -> Definition:
    source = Op(source=SourceOp(identifier=identifier)).SerializeToString()
    digest = digest_of(source)
    last = Op(inputs=[Input(digest=digest)]).SerializeToString()
    definition = Definition(ops=[source, last])
    for each in (digest, digest_of(last)):  # clients take one without metadata for none
        definition.metadata[each].description["llb.customname"] = "result of a build"
    return definition
