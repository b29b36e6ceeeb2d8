"""Conversations with the h2 library at the other end, in whatever pieces they come."""

import asyncio

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.http2.ends import Client, Server
from corten.http2.errors import ErrorCode, StreamLost
from corten.http2.hpack import encode
from corten.http2.settings import CLIENT_GREETING, SERVER_GREETING
from corten.http2.stream import Stream
from fakestream import FakeStream

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")]
ANSWER = encode([(b":status", b"200"), (b"x", b"y" * 100)])


class Echo(Stream):
    """Says again what it is told."""

    def __init__(self, connection, identifier):
        super().__init__(connection, identifier)
        self.lost_with = None

    def on_headers(self, fields):
        self.send_headers(ANSWER)

    def on_data(self, data):
        self.write(data)
        self.give_back(0)

    def on_end(self):
        self.finish(encode([(b"last", b"one")]))

    def on_lost(self, error):
        self.lost_with = error


class Heard(Stream):
    """Keeps what it is told."""

    def __init__(self, connection, identifier):
        super().__init__(connection, identifier)
        self.fields, self.data, self.ended, self.lost_with = [], b"", False, None

    def on_headers(self, fields):
        self.fields += fields

    def on_data(self, data):
        self.data += data
        self.give_back(0)

    def on_end(self):
        self.ended = True

    def on_lost(self, error):
        self.lost_with = error


def pieces(data, sizes):
    while data:
        size = next(sizes)
        yield data[:size]
        data = data[size:]


def cycle(sizes):
    while True:
        yield from sizes


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


contents = st.lists(st.integers(0, 50_000), min_size=1, max_size=3)
cuts = st.lists(st.integers(10, 30_000), min_size=1, max_size=5)


@settings(deadline=None, max_examples=20)
@given(contents, cuts, st.integers(2_000, 100_000), st.booleans())
def test_what_a_client_says_comes_back(sizes, cut, window, is_padded):
    """Several streams, of which the client takes `window` bytes at a time."""

    async def run():
        stream = FakeStream()
        stream.write(SERVER_GREETING)
        server = Server(stream, Echo)
        server.start()
        client = H2Connection(H2Configuration(client_side=True))
        client.initiate_connection()
        client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        left = {2 * number + 1: bytes([number]) * size for number, size in enumerate(sizes)}
        wanted, found, ended, cutting = dict(left), dict.fromkeys(left, b""), set(), cycle(cut)
        for identifier in left:
            client.send_headers(identifier, REQUEST)
        while len(ended) < len(sizes):
            for identifier in [*left]:
                size = min(client.local_flow_control_window(identifier), 16_000, len(left[identifier]))
                data, left[identifier] = left[identifier][:size], left[identifier][size:]
                client.send_data(identifier, data, pad_length=7 if is_padded and size > 8 else None)
                if not left[identifier]:
                    client.end_stream(identifier)
                    del left[identifier]
            for piece in pieces(client.data_to_send(), cutting):
                stream.consumer.on_data(piece)
            await turns()
            for event in client.receive_data(stream.taken()):
                if isinstance(event, h2.events.DataReceived):
                    found[event.stream_id] += event.data
                    client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
                assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated)
        assert found == wanted
        assert not server._streams and not server.blocked
        server.close()

    asyncio.run(run())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 100_000), cuts, st.integers(0, 40_000))
def test_what_a_server_says_is_heard(size, cut, header_size):
    async def run():
        stream = FakeStream()
        stream.write(CLIENT_GREETING)
        client = Client(stream)
        client.start()
        call = await client.open(Heard)
        call.send_headers(encode([(name.encode(), value.encode()) for name, value in REQUEST]))
        call.write(b"?" * size, end=True)
        server = H2Connection(H2Configuration(client_side=False, validate_outbound_headers=False))
        server.initiate_connection()
        cutting, asked, left = cycle(cut), b"", None
        while not call.ended:
            await turns()
            for event in server.receive_data(stream.taken()):
                if isinstance(event, h2.events.DataReceived):
                    asked += event.data
                    server.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, h2.events.StreamEnded):
                    server.send_headers(1, [(":status", "200"), ("long", "l" * header_size)])
                    left = asked
            if left is not None:
                count = min(server.local_flow_control_window(1), 16_000, len(left))
                server.send_data(1, left[:count], end_stream=count == len(left))
                left = left[count:] if count < len(left) else None
            for piece in pieces(server.data_to_send(), cutting):
                stream.consumer.on_data(piece)
        assert call.data == b"?" * size
        assert call.fields == [(b":status", b"200"), (b"long", b"l" * header_size)]
        assert call.lost_with is None and not client._streams
        client.close()

    asyncio.run(run())


def talk(play):
    """A server of ours and a client of the h2 library's, who have met."""

    async def run():
        stream = FakeStream()
        made = []

        def accept(connection, identifier):
            made.append(Heard(connection, identifier))
            return made[-1]

        stream.write(SERVER_GREETING)
        server = Server(stream, accept)
        server.start()
        client = H2Connection(H2Configuration(client_side=True))
        client.initiate_connection()

        async def exchange():
            stream.consumer.on_data(client.data_to_send())
            await turns()
            return client.receive_data(stream.taken())

        await exchange()
        await play(client, exchange, made)
        server.close()

    asyncio.run(run())


def test_headers_that_take_several_frames_are_sent():
    async def play(client, exchange, made):
        client.send_headers(1, REQUEST)
        await exchange()
        made[0].send_headers(encode([(b":status", b"200"), (b"long", b"l" * 50_000)]))
        [event] = [e for e in await exchange() if isinstance(e, h2.events.ResponseReceived)]
        assert len(dict(event.headers)[b"long"]) == 50_000

    talk(play)


def test_a_stream_that_the_client_drops_is_lost_to_who_uses_it():
    async def play(client, exchange, made):
        client.send_headers(1, REQUEST)
        await exchange()
        client.reset_stream(1, ErrorCode.CANCEL)
        await exchange()
        assert "CANCEL" in str(made[0].lost_with)
        for attempt in (lambda: made[0].write(b"x"), lambda: made[0].finish(b"")):
            try:
                attempt()
            except StreamLost:
                continue
            raise AssertionError("written to nobody")

    talk(play)


def test_who_has_no_window_left_waits_and_is_dropped_with_the_stream():
    async def play(client, exchange, made):
        client.send_headers(1, REQUEST)
        await exchange()
        made[0].send_headers(encode([(b":status", b"200")]))
        made[0].write(b"x" * 100_000)
        waiting = asyncio.ensure_future(made[0].drained())
        await exchange()
        assert not waiting.done()
        client.reset_stream(1)
        await exchange()
        assert isinstance(waiting.exception(), StreamLost)

    talk(play)


def test_a_client_does_not_open_more_than_it_may():
    async def run():
        stream = FakeStream()
        stream.write(CLIENT_GREETING)
        client = Client(stream)
        client.start()
        server = H2Connection(H2Configuration(client_side=False))
        server.initiate_connection()
        server.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        stream.consumer.on_data(server.data_to_send())
        first = await client.open(Heard)
        second = asyncio.ensure_future(client.open(Heard))
        await turns()
        assert not second.done()
        first.reset(ErrorCode.CANCEL)
        assert (await second).id == 3
        third = asyncio.ensure_future(client.open(Heard))
        await turns()
        assert not third.done()
        server.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
        stream.consumer.on_data(server.data_to_send())
        await turns()
        assert third.result().id == 5
        client.close()
        try:
            await client.open(Heard)
        except StreamLost:
            return
        raise AssertionError("opened on a connection that has ended")

    asyncio.run(run())


def test_streams_that_a_server_will_not_serve_are_lost():
    async def run():
        stream = FakeStream()
        stream.write(CLIENT_GREETING)
        client = Client(stream)
        client.start()
        calls = [await client.open(Heard) for _ in range(2)]
        stream.consumer.on_data(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\1" + b"\0\0\0\0")
        assert calls[0].lost_with is None and calls[1].lost_with is not None
        client.close()
        assert calls[0].lost_with is not None

    asyncio.run(run())
