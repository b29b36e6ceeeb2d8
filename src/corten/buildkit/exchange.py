"""Results of builds that other builds begin with: bake's linked targets (`contexts={base="target:x"}`).

A client gets a definition for what a frontend has built and may hand it back as an input of another build.
Ours holds one source with a name of ours; who brings it back gets the layers, once they are made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from corten.builder.graph import ImageSource, Vertex
from corten.builder.results import Snapshot
from corten.buildkit.proto.llb_pb2 import Definition, Input, Op, SourceOp
from corten.digest import digest_of
from corten.errors import NotFound

SCHEME = "corten-result://"
_KEPT = 1000


class Exchange:
    """Results by the digest of their vertex. Event loop's thread only."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Snapshot | Callable[[], Awaitable[Snapshot]]] = OrderedDict()

    def offer(self, vertex: Vertex, solve: Callable[[Vertex], Awaitable[Snapshot]]) -> Definition:
        """A definition of the vertex, which `solve` can make as long as its build runs."""

        async def make() -> Snapshot:
            snapshot = await solve(vertex)
            self._known[vertex.digest] = snapshot
            return snapshot

        self._known.setdefault(vertex.digest, make)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return _definition(f"{SCHEME}{vertex.digest}")

    def made(self, vertex: Vertex, snapshot: Snapshot) -> None:
        """Its build has made it."""
        if vertex.digest in self._known:
            self._known[vertex.digest] = snapshot

    async def take(self, identifier: str) -> Vertex:
        """The layers behind a source of ours. Raises NotFound, and what making them raises."""
        digest = identifier.removeprefix(SCHEME)
        known = self._known.get(digest)
        if known is None:
            raise NotFound(f"no such result of a build: {digest}")
        snapshot = known if isinstance(known, Snapshot) else await known()
        layers = snapshot.layers
        source = ImageSource(
            diff_ids=tuple(layer.diff_id for layer in layers),
            created_ns=tuple(layer.created_ns for layer in layers),
        )
        return Vertex(op=source, name=digest)


def _definition(identifier: str) -> Definition:
    source = Op(source=SourceOp(identifier=identifier)).SerializeToString()
    last = Op(inputs=[Input(digest=digest_of(source))]).SerializeToString()
    definition = Definition(ops=[source, last])
    for op in (source, last):  # clients take one without metadata for none
        definition.metadata[digest_of(op)].description["llb.customname"] = "result of a build"
    return definition
