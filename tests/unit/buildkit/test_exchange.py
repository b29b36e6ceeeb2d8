"""Results of builds that other builds begin with."""

import asyncio

import pytest

from corten.builder.graph import InlineSource, Vertex
from corten.builder.results import Snapshot
from corten.buildkit.exchange import Exchange
from corten.errors import NotFound

VERTEX = Vertex(op=InlineSource(files=()), name="x")


class FakeBuild:
    async def solve(self, vertex: Vertex) -> Snapshot:
        return Snapshot(layers=())


def identifier() -> str:
    return f"corten-result://{VERTEX.digest}"


def test_what_a_build_has_made_outlives_it():
    exchange, build = Exchange(), FakeBuild()
    exchange.offer(VERTEX, build.solve)
    exchange.made(VERTEX, Snapshot(layers=()))
    exchange.withdraw(build.solve)
    assert asyncio.run(exchange.take(identifier())).op.diff_ids == ()


def test_what_it_has_not_made_goes_with_it():
    exchange, build = Exchange(), FakeBuild()
    exchange.offer(VERTEX, build.solve)
    assert asyncio.run(exchange.take(identifier())).op.diff_ids == ()
    exchange.withdraw(build.solve)
    with pytest.raises(NotFound):
        asyncio.run(exchange.take(identifier()))
