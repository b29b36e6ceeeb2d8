"""Inputs of an op, by the numbers that its definition gives them."""

from __future__ import annotations

from collections.abc import Sequence

from corten.builder.graph import SCRATCH, Vertex
from corten.errors import InvalidParameter


def input_of(inputs: Sequence[Vertex], number: int) -> Vertex:
    """-1: nothing at all. Raises InvalidParameter."""
    if number == -1:
        return SCRATCH
    if not 0 <= number < len(inputs):
        raise InvalidParameter(f"invalid definition: there is no input {number}")
    return inputs[number]
