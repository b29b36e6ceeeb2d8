"""What a build's work comes to, with a session that does as it is told."""

import asyncio

import pytest

from corten.builder.graph import ImageSource, Merge, Vertex
from corten.builder.image import Layer
from corten.builder.results import MOST_LAYERS, Snapshot
from corten.builder.solver import Solve
from corten.errors import InvalidParameter, NotFound


class Forgetful:
    """A session whose images are gone."""

    def pin(self, snapshot):
        raise NotFound("no such layer")


def test_work_that_cannot_be_begun_fails_each_time_it_is_asked_for():
    async def scenario():
        begun = []
        solve = Solve(None, Forgetful(), None, begun.append)
        vertex = Vertex(op=ImageSource(diff_ids=("sha256:1",)), name="image")
        for _ in range(2):
            with pytest.raises(NotFound):
                async with asyncio.timeout(5):
                    await solve.result(vertex)
        assert begun == []

    asyncio.run(scenario())


class Careless(Forgetful):
    """A session that has everything."""

    def pin(self, snapshot):
        pass


def test_a_chain_may_be_longer_than_the_stack_is_deep():
    async def scenario():
        async with asyncio.TaskGroup() as tasks:
            solve = Solve(None, Careless(), tasks, None)
            vertex = Vertex(op=ImageSource(diff_ids=("sha256:1",)))
            for _ in range(3000):
                vertex = Vertex(op=Merge(), inputs=(vertex,))
            assert not solve.look_ahead(vertex)
            result = await solve.work(vertex).result()
            assert [layer.diff_id for layer in result.layers] == ["sha256:1"]

    asyncio.run(scenario())


def test_no_more_layers_than_can_be_mounted():
    layers = tuple(Layer(f"sha256:{number}", 0) for number in range(MOST_LAYERS + 1))
    assert Snapshot(layers[1:])
    with pytest.raises(InvalidParameter, match="max depth exceeded"):
        Snapshot(layers)
