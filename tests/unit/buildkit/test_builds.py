"""Builds by their `ref`, which clients choose."""

import asyncio
from types import SimpleNamespace

import pytest

from corten.buildkit.build import BuildRequest
from corten.buildkit.builds import Builds
from corten.errors import InvalidParameter, NotFound

REQUEST = BuildRequest(ref="r", session="s")


class FakeHistory:
    """Writes slowly: until `writes` is set."""

    def __init__(self):
        self.writes = asyncio.Event()
        self.said = []

    def begin(self, ref, *more):
        self.said.append(f"begin {ref}")

    def end(self, ref, *more):
        self.said.append(f"end {ref}")

    async def written(self, ref):
        if f"end {ref}" in self.said:
            await self.writes.wait()
            self.said.append(f"written {ref}")

    def told(self, ref):
        return "told before" if f"end {ref}" in self.said else None


def build_of(release):
    async def run(driver):
        await release.wait()
        return {}

    return SimpleNamespace(run=run, notes={}, progress=SimpleNamespace(watch=lambda: "told now"))


def test_a_ref_belongs_to_a_build_until_its_end_is_written_down():
    async def main():
        history, release = FakeHistory(), asyncio.Event()
        builds = Builds(lambda request: build_of(release), history)
        first = asyncio.ensure_future(builds.run(REQUEST))
        await asyncio.sleep(0)
        with pytest.raises(InvalidParameter, match="job r already exists"):
            await builds.run(REQUEST)
        release.set()
        await first  # it has ended and is being written down
        second = asyncio.ensure_future(builds.run(REQUEST))
        for _ in range(5):
            await asyncio.sleep(0)
        assert history.said == ["begin r", "end r"]
        history.writes.set()
        await second
        return history.said

    assert asyncio.run(main()) == ["begin r", "end r", "written r", "begin r", "end r"]


def test_who_watches_a_build_is_not_told_of_an_earlier_one_of_its_ref():
    async def main():
        history, release = FakeHistory(), asyncio.Event()
        history.writes.set()
        release.set()
        builds = Builds(lambda request: build_of(release), history)
        await builds.run(REQUEST)
        told = [await builds.told("r")]
        release.clear()
        second = asyncio.ensure_future(builds.run(REQUEST))
        await asyncio.sleep(0)
        told.append(await builds.told("r"))
        release.set()
        await second
        return told

    assert asyncio.run(main()) == ["told before", "told now"]


def test_who_asks_for_a_build_that_is_refused_is_answered_at_once():
    async def main():
        builds = Builds(refuse, FakeHistory())
        watching = asyncio.ensure_future(builds.told("r"))
        await asyncio.sleep(0)
        with pytest.raises(InvalidParameter, match="invalid mode"):
            await builds.run(REQUEST)
        for told in (watching, builds.told("r")):
            assert [each async for each in await asyncio.wait_for(told, 1)] == []
        with pytest.raises(NotFound, match="no such job r"):
            await asyncio.wait_for(builds.get("r"), 1)

    def refuse(request):
        raise InvalidParameter("invalid mode")

    asyncio.run(main())
