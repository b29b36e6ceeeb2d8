"""Graphs of clients (LLB, pb.Definition) as graphs of the builder's own operations.

    Definition ──lowering──► vertices            sources, execs and files: one module for each kind of op

Nothing is executed, but images are looked up (their layers are the source), and a BuildOp's definition has
to be made before it can be read. What is not understood is refused by name.
"""

from corten.buildkit.lowering.lowering import Lowering

__all__ = ["Lowering"]
