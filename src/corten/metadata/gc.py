"""Garbage collection as arithmetic: what cannot be reached from the roots may go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

Node = TypeVar("Node")


def reachable(roots: Iterable[Node], edges: Mapping[Node, Iterable[Node]]) -> set[Node]:
    """All nodes that a path of `edges` (holder -> held) joins to a root. Cycles are fine."""
    seen: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(edges.get(node, ()))
    return seen


def unreachable(
    nodes: Iterable[Node], roots: Iterable[Node], edges: Mapping[Node, Iterable[Node]]
) -> set[Node]:
    """Those of `nodes` that nothing holds."""
    held: set[Node] = reachable(roots, edges)
    return set(nodes) - held
