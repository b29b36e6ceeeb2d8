"""What a client is told of a command that has failed, so that it can look into what it has left.

It makes a container of the command's mounts (LLBBridge.NewContainer), of each as it was when the command
began, or as the command has left it. Source: moby/buildkit, solver/errdefs/errdefs.proto (Solve) and
solver/llbsolver/ops/exec.go; docker/buildx, build/result.go (what is done with it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from corten.builder.attest.llb import command_of, shown_mounts
from corten.builder.graph import SCRATCH, BindMount, CacheMount, Exec, Mount, Remains, Vertex


def state_of(vertex: Vertex, name: Callable[[Vertex], str]) -> Mapping[str, object]:
    """`errdefs.Solve` of a command, as protobuf's JSON. `name` gives a vertex an id for the client."""
    op = vertex.op
    assert isinstance(op, Exec)
    before = [name(vertex.inputs[0]), *(_before(each, vertex, name) for each in shown_mounts(op))]
    after = [name(Vertex(op=Remains(of=vertex.digest))), *before[1:]]
    return {"inputIDs": before, "mountIDs": after, "op": {"exec": command_of(vertex)}}


def _before(mount: Mount, vertex: Vertex, name: Callable[[Vertex], str]) -> str:
    """What the mount shows, "" = nothing of the graph."""
    if not isinstance(mount, BindMount | CacheMount) or mount.input is None:
        return ""
    shown = vertex.inputs[mount.input]
    return name(shown) if shown != SCRATCH else ""
