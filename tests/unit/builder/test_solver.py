"""What a build's work comes to, with a session that does as it is told."""

import asyncio

import pytest

from corten.builder.graph import ImageSource, Vertex
from corten.builder.solver import Solve
from corten.errors import NotFound


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
