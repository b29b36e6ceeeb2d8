"""A definition, op by op."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from google.protobuf.message import DecodeError

from corten.builder.graph import SCRATCH, Diff, Merge, Vertex
from corten.buildkit.failures import Place
from corten.buildkit.lowering.execs import lower_exec
from corten.buildkit.lowering.files import lower_files
from corten.buildkit.lowering.inputs import input_of
from corten.buildkit.lowering.roots import rooted
from corten.buildkit.lowering.sources import Sources
from corten.buildkit.proto.llb_pb2 import BuildOp, Definition, Op, OpMetadata
from corten.buildkit.workbench import Workbench
from corten.digest import digest_of
from corten.errors import InvalidParameter, NotSupported

Outputs: TypeAlias = Mapping[int, Vertex]
"""What an op gives, by the index under which others refer to it."""
ReadFile: TypeAlias = Callable[[Vertex, str], Awaitable[bytes]]
"""A file of a vertex's result, which is made for it."""

_MAX_DEPTH = 8  # of definitions that make definitions
_DEFINITION = "buildkit.llb.definition"


class Lowering:
    """The definitions of one build."""

    def __init__(self, bench: Workbench, read_file: ReadFile) -> None:
        self._bench = bench
        self._sources = Sources(bench)
        self._read_file = read_file
        self._depth = 0

    async def root(self, definition: Definition) -> Vertex | None:
        """What the definition's last op names, as a root file system; None if it is empty (`scratch`).

        Raises InvalidParameter, NotSupported, and what looking up images raises.
        """
        found = await self.lower(definition)
        return rooted(found) if found is not None else None

    async def lower(self, definition: Definition) -> Vertex | None:
        """As `root`; files of a source stay mere files."""
        ops = [_parsed(encoded) for encoded in definition.ops]
        if not ops:
            return None
        known: dict[str, Outputs] = {}
        for encoded, op in zip(definition.ops[:-1], ops[:-1], strict=True):
            digest = digest_of(encoded)
            lowered = await self._lower(op, definition.metadata[digest], known)
            known[digest] = {
                index: self._described(vertex, digest, definition) for index, vertex in lowered.items()
            }
        last = ops[-1]
        if last.WhichOneof("op") is not None or len(last.inputs) > 1:
            raise InvalidParameter("invalid definition: the last op does not name a result")
        return _inputs(last, known)[0] if last.inputs else None

    async def _lower(self, op: Op, about: OpMetadata, known: Mapping[str, Outputs]) -> Outputs:
        inputs = _inputs(op, known)
        kind = op.WhichOneof("op")
        if kind == "source":
            return {0: await self._sources.lower(op.source, op.platform if op.HasField("platform") else None)}
        if kind == "exec":
            granted = self._bench.session.settings.entitlements
            return lower_exec(op.exec, inputs, granted, fresh=about.ignore_cache)
        if kind == "file":
            return lower_files(op.file, inputs, fresh=about.ignore_cache)
        if kind == "merge":
            parts = [rooted(input_of(inputs, each.input)) for each in op.merge.inputs]
            return {0: Vertex(op=Merge(), inputs=tuple(parts), name="merge")}
        if kind == "diff":
            lower = input_of(inputs, op.diff.lower.input) if op.diff.HasField("lower") else SCRATCH
            upper = input_of(inputs, op.diff.upper.input) if op.diff.HasField("upper") else SCRATCH
            return {0: Vertex(op=Diff(), inputs=(rooted(lower), rooted(upper)), name="diff")}
        if kind == "build":
            return {0: await self._build(op.build, inputs)}
        raise NotSupported("an op of the definition is of a kind that is not supported")

    async def _build(self, op: BuildOp, inputs: Sequence[Vertex]) -> Vertex:
        """A definition that stands in a file which has to be made first."""
        if op.builder != -1 or op.definition.ops or _DEFINITION not in op.inputs:
            raise NotSupported("only definitions in files can be built by a BuildOp")
        if self._depth >= _MAX_DEPTH:
            raise InvalidParameter("definitions are nested too deeply")
        file = op.attrs.get("llb.filename") or _DEFINITION
        data = await self._read_file(input_of(inputs, op.inputs[_DEFINITION].input), file)
        try:
            definition = Definition.FromString(data)
        except DecodeError as error:
            raise InvalidParameter(f"failed to parse definition in {file}: {error}") from error
        self._depth += 1
        try:
            return await self.lower(definition) or SCRATCH
        finally:
            self._depth -= 1

    def _described(self, vertex: Vertex, digest: str, definition: Definition) -> Vertex:
        """The vertex under the name that the client gives it, and with its place in the client's sources."""
        name = definition.metadata[digest].description.get("llb.customname", "")
        if name:
            vertex = replace(vertex, name=name)
        texts = self._bench.texts
        texts.names.setdefault(vertex.digest, vertex.name)
        for location in definition.source.locations[digest].locations:
            if location.source_index < len(definition.source.infos) and location.ranges:
                texts.places[vertex.digest] = Place(
                    source=definition.source.infos[location.source_index],
                    line=location.ranges[0].start.line,
                    end_line=location.ranges[0].end.line,
                )
        return vertex


def _parsed(encoded: bytes) -> Op:
    try:
        return Op.FromString(encoded)
    except DecodeError as error:
        raise InvalidParameter(f"invalid definition: {error}") from error


def _inputs(op: Op, known: Mapping[str, Outputs]) -> list[Vertex]:
    found = []
    for each in op.inputs:
        vertex = known.get(each.digest, {}).get(each.index)
        if vertex is None:
            raise InvalidParameter(f"invalid definition: input {each.digest} output {each.index} is unknown")
        found.append(vertex)
    return found
