"""Containers and processes of a build's client, whatever it does at whatever moment."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from corten.buildkit.containers import Containers
from corten.buildkit.grpc.status import GRPCError
from corten.buildkit.processes import Processes
from corten.buildkit.proto import gateway_pb2 as gateway


class Made:
    """What is made and ended, with a pause in which others get their turn."""

    def __init__(self):
        self.open = set()
        self.go = asyncio.Event()
        self.end = asyncio.Event()
        self.go.set()
        self.end.set()

    @asynccontextmanager
    async def container(self, name):
        await self.go.wait()
        self.open.add(name)
        try:
            yield name
        finally:
            await self.end.wait()
            self.open.discard(name)


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


def test_no_container_is_had_from_a_build_that_ends():
    async def main():
        made, containers = Made(), Containers()
        await containers.open("one", made.container("one"))
        made.go.clear()
        second = asyncio.ensure_future(containers.open("two", made.container("two")))
        await turns()
        await containers.close()
        made.go.set()
        with pytest.raises(GRPCError, match="the build has ended"):
            await second
        with pytest.raises(GRPCError, match="the build has ended"):
            await containers.open("three", made.container("three"))
        return made.open

    assert asyncio.run(main()) == set()


def test_a_release_beside_the_end_of_the_build():
    async def main():
        made, containers = Made(), Containers()
        for name in ("one", "two", "three"):
            await containers.open(name, made.container(name))
        made.end.clear()
        releasing = asyncio.ensure_future(containers.release("two"))
        await turns()
        releasing.cancel()  # the client goes
        closing = asyncio.ensure_future(containers.close())
        await turns()
        waits = not closing.done()
        made.end.set()
        await closing
        return waits, made.open

    assert asyncio.run(main()) == (True, set())


class Stream:
    """What a client says, and is told."""

    def __init__(self, messages):
        self.messages = messages
        self.told = []

    async def __aiter__(self):
        for message in self.messages:
            await turns()
            yield message

    async def send_message(self, message):
        self.told.append((message.process_id, message.WhichOneof("input")))


class Unread:
    """A process that takes no input, and ends soon."""

    async def write(self, data):
        await asyncio.Event().wait()

    async def wait(self):
        await turns()
        return 0


class Running:
    async def start(self, process, on_output):
        return Unread()


def said(messages):
    async def main():
        @asynccontextmanager
        async def made():
            yield Running()

        containers = Containers()
        await containers.open("c", made())
        stream = Stream(messages)

        async def specify(init):
            return init

        await asyncio.wait_for(Processes(containers, specify, stream).run(), 60)
        return stream.told

    return asyncio.run(main())


def init(process):
    return gateway.ExecMessage(process_id=process, init=gateway.InitMessage(container_id="c", fds=[0]))


def test_input_that_nobody_reads_does_not_hold_up_what_comes_after_it():
    data = gateway.ExecMessage(process_id="one", file=gateway.FdMessage(fd=0, data=b"x"))
    told = said([init("one"), *[data] * 100, init("two")])
    assert [each for each in told if each[1] == "done"] == [("one", "done"), ("two", "done")]


def test_a_stream_may_have_many_processes_one_after_the_other():
    told = said([init(str(number)) for number in range(200)])
    assert sum(kind == "done" for _, kind in told) == 200
