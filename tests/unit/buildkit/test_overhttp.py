"""Contexts of builds that come by a request of their own."""

import asyncio

import pytest

from corten.buildkit import overhttp
from corten.buildkit.overhttp import HttpBuilds
from corten.errors import NotFound
from corten.types.operations import BuildKitOptions, BuildOptions


class Reading:
    """Reads the context, and remembers how that ended."""

    def __init__(self):
        self.read = b""
        self.ended = None

    async def run(self, request):
        try:
            async for piece in request.body:
                self.read += piece
        except Exception as error:
            self.ended = error
            raise
        return {}

    async def told(self, ref):
        async def nothing():
            return
            yield

        return nothing()


async def everything(messages):
    return [message async for message in messages]


def build(builds):
    return everything(
        builds.build(BuildOptions(remote="upload-request"), BuildKitOptions(build_id="one"), empty())
    )


def upload(builds, body):
    return everything(builds.build(BuildOptions(), BuildKitOptions(build_id="upload-request:one"), body))


async def empty():
    return
    yield


async def pieces(*data):
    for each in data:
        yield each


def test_nothing_is_kept_of_a_context_that_no_build_takes(monkeypatch):
    monkeypatch.setattr(overhttp, "_UPLOAD_S", 0.01)

    async def main():
        builds = HttpBuilds(reading := Reading())
        for _ in range(2):  # not: has been uploaded already
            with pytest.raises(NotFound, match="no build takes"):
                await upload(builds, pieces(b"old"))
        monkeypatch.setattr(overhttp, "_UPLOAD_S", 60)
        await asyncio.gather(build(builds), upload(builds, pieces(b"n", b"ew")))
        return reading.read

    assert asyncio.run(main()) == b"new"


def test_who_brings_a_context_may_go_while_it_is_read():
    async def main():
        gone = asyncio.Event()

        async def broken():
            yield b"half"
            await gone.wait()
            raise OSError("the request has ended")

        builds = HttpBuilds(reading := Reading())
        building = asyncio.ensure_future(build(builds))
        bringing = asyncio.ensure_future(upload(builds, broken()))
        while not reading.read:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)  # it waits for the end
        bringing.cancel()
        await asyncio.wait([bringing])
        gone.set()
        await asyncio.wait([building])
        return str(reading.ended)

    assert asyncio.run(main()) == "the request has ended"
