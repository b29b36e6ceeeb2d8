"""Calls: ours and those of grpclib, in both roles, over pairs of sockets."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest
from google.protobuf.any_pb2 import Any
from grpclib.client import Channel as OtherChannel
from grpclib.client import StreamStreamMethod, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler
from grpclib.encoding.proto import ProtoCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError as OtherError
from grpclib.protocol import H2Protocol
from grpclib.server import Handler as OtherHandler
from h2.config import H2Configuration

from corten.buildkit.grpc.client import Channel
from corten.buildkit.grpc.server import serve
from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.handlers import dialogue
from corten.buildkit.proto.control_pb2 import BytesMessage
from corten.http2.errors import StreamLost
from corten.http2.settings import CLIENT_GREETING, SERVER_GREETING

LARGE = 5 << 20  # several windows
ODD = "50 % of \u00fcml\u00e4uts\n"
DETAIL = Any(type_url="x/y", value=b"\0\xff")


class SocketStream(asyncio.Protocol):
    """A RawStream over a socket."""

    def __init__(self) -> None:
        self.writable, self.consumer, self.early = True, None, b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.consumer is None:
            self.early += data
        else:
            self.consumer.on_data(data)

    def connection_lost(self, error) -> None:
        if self.consumer is not None:
            self.consumer.on_lost()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self.consumer.on_writable()

    def start(self, consumer) -> None:
        self.consumer = consumer
        if self.early:
            consumer.on_data(self.early)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def pause(self) -> None:
        self.transport.pause_reading()

    def resume(self) -> None:
        self.transport.resume_reading()

    def abort(self) -> None:
        self.transport.abort()


async def raw(end: socket.socket) -> SocketStream:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(SocketStream, sock=end))[1]


# -- what is called: the same for both libraries' servers ---------------------------------------------


async def echo(call) -> None:
    while (message := await call.recv_message()) is not None:
        await call.send_message(message)


def failing(error):
    async def fail(call) -> None:
        await call.recv_message()
        raise error

    return fail


async def forever(call) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ENDED.append("forever")


ENDED = []


def methods(error):
    return {"/t/Echo": echo, "/t/Fail": failing(error), "/t/Forever": forever}


class OtherCaller(OtherChannel):
    """grpclib's client over a socket that is there."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__("x", 0)
        self._authority = "x"
        self._end = end

    async def _create_connection(self):
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(self._protocol_factory, sock=self._end))[1]


@asynccontextmanager
async def our_server():
    ours, theirs = socket.socketpair()
    error = GRPCError(Status.NOT_FOUND, ODD, [DETAIL])
    table = {path: dialogue(run, BytesMessage) for path, run in methods(error).items()}
    stream = await raw(ours)
    stream.write(SERVER_GREETING)
    serving = asyncio.ensure_future(serve(stream, table))
    try:
        yield theirs
    finally:
        await asyncio.wait_for(serving, 10)


@asynccontextmanager
async def other_server():
    ours, theirs = socket.socketpair()
    error = OtherError(Status.NOT_FOUND, ODD)
    kind = Cardinality.STREAM_STREAM
    table = {path: Handler(run, kind, BytesMessage, BytesMessage) for path, run in methods(error).items()}
    handler = OtherHandler(table, ProtoCodec(), None, _DispatchServerEvents())
    config = H2Configuration(client_side=False, header_encoding="ascii", validate_inbound_headers=False)
    protocol = H2Protocol(handler, Configuration().__for_server__(), config)
    loop = asyncio.get_running_loop()
    transport = (await loop.create_connection(lambda: protocol, sock=theirs))[0]
    try:
        yield ours
    finally:
        transport.abort()
        handler.close()
        await handler.wait_closed()


@asynccontextmanager
async def called(server):
    async with server() as end:
        stream = await raw(end)
        stream.write(CLIENT_GREETING)
        channel = Channel(stream)
        channel.open()
        try:
            yield channel
        finally:
            channel.close()


def run(test, server):
    async def play():
        async with called(server) as channel:
            await test(channel)

    asyncio.run(asyncio.wait_for(play(), 60))


both = pytest.mark.parametrize("server", [our_server, other_server])


@both
@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_a_message_and_its_answer(server, size):
    async def test(channel):
        message = BytesMessage(data=b"x" * size)
        assert await channel.call("/t/Echo", message, BytesMessage, timeout_s=30) == message

    run(test, server)


@both
def test_messages_both_ways_of_many_calls_at_once(server):
    async def test(channel):
        async def talk(number):
            async with channel.stream("/t/Echo", BytesMessage, [("k", "v")]) as call:
                for turn in range(5):
                    message = BytesMessage(data=bytes([number]) * (100_000 * turn))
                    await call.send_message(message)
                    assert await call.recv_message() == message
                call.end()
                assert await call.recv_message() is None

        await asyncio.gather(*map(talk, range(8)))

    run(test, server)


@both
def test_an_error_is_told_with_its_text(server):
    async def test(channel):
        with pytest.raises(GRPCError) as raised:
            await channel.call("/t/Fail", BytesMessage(), BytesMessage, timeout_s=30)
        assert (raised.value.status, raised.value.message) == (Status.NOT_FOUND, ODD)
        if server is our_server:
            assert raised.value.details == [DETAIL]
        with pytest.raises(GRPCError) as raised:  # also to who is still sending
            async with channel.stream("/t/Fail", BytesMessage) as call:
                while True:
                    await call.send_message(BytesMessage(data=b"x" * 100_000))
        assert raised.value.message == ODD

    run(test, server)


@both
def test_who_goes_away_ends_what_was_asked_for(server):
    async def test(channel):
        ENDED.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), channel.stream("/t/Forever", BytesMessage) as call:
                await call.recv_message()
        await channel.call("/t/Echo", BytesMessage(), BytesMessage, timeout_s=30)
        assert ENDED == ["forever"]

    run(test, server)


@both
def test_a_time_that_is_up(server):
    async def test(channel):
        ENDED.clear()
        with pytest.raises((GRPCError, TimeoutError)):
            await channel.call("/t/Forever", BytesMessage(), BytesMessage, timeout_s=0.05)
        await channel.call("/t/Echo", BytesMessage(), BytesMessage, timeout_s=30)
        assert ENDED == ["forever"]

    run(test, server)


def test_a_connection_that_is_lost_is_told_to_all_calls():
    async def test(channel):
        async with channel.stream("/t/Echo", BytesMessage) as call:
            channel.close()
            with pytest.raises(StreamLost):
                await call.recv_message()
            with pytest.raises(StreamLost):
                await call.send_message(BytesMessage())
            raise StreamLost("as expected")

    with pytest.raises(StreamLost):
        run(test, our_server)


def test_methods_that_nobody_knows():
    async def test(channel):
        with pytest.raises(GRPCError) as raised:
            await channel.call("/t/None", BytesMessage(), BytesMessage, timeout_s=30)
        assert raised.value.status == Status.UNIMPLEMENTED

    run(test, our_server)


def test_grpclib_as_our_client():
    async def play():
        async with our_server() as end:
            channel = OtherCaller(end)
            try:
                unary = UnaryUnaryMethod(channel, "/t/Echo", BytesMessage, BytesMessage)
                message = BytesMessage(data=b"x" * LARGE)
                assert await unary(message, timeout=30) == message
                stream = StreamStreamMethod(channel, "/t/Echo", BytesMessage, BytesMessage)
                messages = [BytesMessage(data=bytes([number]) * 100_000) for number in range(3)]
                assert await stream(messages) == messages
                with pytest.raises(OtherError) as raised:
                    await UnaryUnaryMethod(channel, "/t/Fail", BytesMessage, BytesMessage)(message)
                assert raised.value.message == ODD
            finally:
                channel.close()

    asyncio.run(asyncio.wait_for(play(), 60))
