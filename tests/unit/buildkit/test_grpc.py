"""HTTP/2 of a client that means no good: what it makes us keep is bounded."""

import asyncio

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamReset, TrailersReceived

from corten.buildkit.grpc.server import serve
from corten.buildkit.handlers import constant, dialogue, unary
from corten.buildkit.proto.control_pb2 import BytesMessage
from corten.buildkit.proto.rpc_pb2 import Empty
from corten.http2.settings import MAX_STREAMS, SERVER_GREETING
from fakestream import FakeStream

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/s/Method"),
    (":authority", "x"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


def to(path):
    return [(name, path if name == ":path" else value) for name, value in HEADERS]


AT_ONCE = to("/s/AtOnce")


async def method(stream) -> None:
    while await stream.recv_message() is not None:
        await stream.send_message(Empty())


async def later(request, _):
    await asyncio.sleep(0)
    return BytesMessage(data=str(len(request.data)).encode())


async def attacked(attack) -> None:
    stream = FakeStream()
    stream.write(SERVER_GREETING)
    client = H2Connection(H2Configuration(client_side=True, header_encoding="ascii"))
    client.initiate_connection()
    methods = {
        "/s/Method": dialogue(method, Empty),
        "/s/AtOnce": constant(Empty(), Empty),
        "/s/Unary": unary(later, BytesMessage),
    }
    serving = asyncio.ensure_future(serve(stream, methods))
    await asyncio.sleep(0)
    try:
        await attack(stream, client)
    finally:
        stream.abort()
        await serving


def send(stream, client) -> None:
    stream.consumer.on_data(client.data_to_send())


def test_a_message_is_bounded():
    async def attack(stream, client):
        client.send_headers(1, HEADERS)
        client.send_data(1, b"\0" + (1 << 30).to_bytes(4, "big"))
        send(stream, client)
        ended = []
        while not ended:
            await asyncio.sleep(0)
            ended = [
                event
                for event in client.receive_data(stream.taken())
                if "grpc-status" in dict(getattr(event, "headers", None) or ())
            ]
        assert dict(ended[0].headers)["grpc-status"] == "8"

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


def test_empty_frames_are_not_kept_and_hurt_no_message():
    async def attack(stream, client):
        client.send_headers(1, HEADERS)
        for _ in range(1000):
            client.send_data(1, b"")
        client.send_data(1, b"\0\0\0\0\0", end_stream=True)
        send(stream, client)
        ended = []
        while not ended:
            await asyncio.sleep(0)
            ended = [e for e in client.receive_data(stream.taken()) if isinstance(e, TrailersReceived)]
        assert dict(ended[0].headers)["grpc-status"] == "0"

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


def test_who_does_not_read_the_answers_is_not_read_either():
    async def attack(stream, client):
        send(stream, client)
        stream.writable = False
        for _ in range(2):
            for _ in range(5000):
                client.ping(b"12345678")
            send(stream, client)
            await asyncio.sleep(0)  # answers are sent when all that has come is understood
        assert stream.paused
        stream.writable = True
        stream.consumer.on_writable()
        assert not stream.paused

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


def test_a_lull_is_short_but_who_does_not_read_is_not_read_after_it_either():
    async def attack(stream, client):
        send(stream, client)
        stream.consumer.lull(0)
        assert stream.paused
        while stream.paused:
            await asyncio.sleep(0)
        stream.writable = False
        stream.consumer.lull(0)
        for _ in range(2):
            for _ in range(5000):
                client.ping(b"12345678")
            send(stream, client)
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # timers run in the order of their times
        assert stream.paused
        stream.writable = True
        stream.consumer.on_writable()
        assert not stream.paused

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


def test_the_frames_of_an_answer_are_sent_at_once():
    async def attack(stream, client):
        send(stream, client)
        client.send_headers(1, HEADERS)
        client.send_data(1, b"\0\0\0\0\0" * 3, end_stream=True)
        await asyncio.sleep(0)
        before = stream.writes
        send(stream, client)
        ended = []
        while not ended:
            await asyncio.sleep(0)
            ended = [e for e in client.receive_data(stream.taken()) if isinstance(e, TrailersReceived)]
        assert stream.writes - before <= 2  # headers, three messages, trailers

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


@pytest.mark.parametrize("data", [b"\0" * 100, b"\0\0\1\x0a\0\0\0\0\0x", b"\0\0\1\xf0\0\0\0\0\0x"])
def test_frames_that_nobody_understands_break_nothing(data):
    async def attack(stream, client):
        send(stream, client)
        stream.consumer.on_data(data)

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


@pytest.mark.parametrize(("request_", "status"), [(b"\0\0\0\0\0", "0"), (b"", "2"), (b"\1\0\0\0\0", "12")])
def test_what_is_known_is_answered_in_the_turn_of_the_request(request_, status):
    async def attack(stream, client):
        client.send_headers(1, AT_ONCE)
        client.send_data(1, request_, end_stream=True)
        send(stream, client)
        said = [dict(getattr(each, "headers", None) or ()) for each in client.receive_data(stream.taken())]
        assert [each["grpc-status"] for each in said if "grpc-status" in each] == [status]

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


def test_requests_that_never_end_are_bounded():
    async def attack(stream, client):
        for number in range(101):
            client.send_headers(2 * number + 1, AT_ONCE)
        send(stream, client)
        await asyncio.sleep(0)
        refused = [e for e in client.receive_data(stream.taken()) if isinstance(e, StreamReset)]
        assert [each.stream_id for each in refused] == [201]

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


async def outcome(stream, client, *, streams=1):
    """How the calls have ended: what their last header fields say, by stream."""
    found = {}
    while len(found) < streams:
        await asyncio.sleep(0)
        for event in client.receive_data(stream.taken()):
            fields = dict(getattr(event, "headers", None) or ())
            if "grpc-status" in fields:
                found[event.stream_id] = fields["grpc-status"]
        send(stream, client)
    return [status for _, status in sorted(found.items())]


@pytest.mark.parametrize(
    ("claimed", "sent", "status"),
    [(5 << 20, 6 << 20, "0"), (17 << 20, 5 << 20, "8"), (5 << 20, 4 << 20, "13")],
)
def test_a_large_request_comes_as_a_whole_before_it_is_answered(claimed, sent, status):
    message = BytesMessage(data=bytes(claimed)).SerializeToString()
    request = (b"\0" + len(message).to_bytes(4, "big") + message)[:sent]

    async def attack(stream, client):
        client.send_headers(1, to("/s/Unary"))
        left, answered = request, []
        while left and not answered:
            size = min(len(left), client.local_flow_control_window(1), 16384)
            if size:
                client.send_data(1, left[:size], end_stream=size == len(left))
                left = left[size:]
                send(stream, client)
            await asyncio.sleep(0)
            events = client.receive_data(stream.taken())
            fields = [dict(getattr(event, "headers", None) or ()) for event in events]
            answered = [each["grpc-status"] for each in fields if "grpc-status" in each]
        assert (answered or await outcome(stream, client)) == [status]

    asyncio.run(asyncio.wait_for(attacked(attack), 20))


def test_many_requests_that_come_side_by_side_do_not_wait_for_each_other():
    message = BytesMessage(data=bytes(100_000)).SerializeToString()
    request = b"\0" + len(message).to_bytes(4, "big") + message

    async def attack(stream, client):
        numbers = range(1, 2 * MAX_STREAMS, 2)
        for number in numbers:
            client.send_headers(number, to("/s/Unary"))
        for start in range(0, len(request), 16384):
            piece = request[start : start + 16384]
            for number in numbers:
                assert client.local_flow_control_window(number) >= len(piece)
                client.send_data(number, piece, end_stream=start + len(piece) == len(request))
                send(stream, client)
                await asyncio.sleep(0)
                client.receive_data(stream.taken())

    asyncio.run(asyncio.wait_for(attacked(attack), 20))


def test_what_a_client_says_after_the_answer_fills_no_window():
    async def attack(stream, client):
        for number in range(1, 801, 2):  # 13 MB, of 4 MiB that may be on their way
            client.send_headers(number, to("/s/Nobody"))
            client.send_data(number, bytes(16384))
            client.send_data(number, bytes(16384), end_stream=True)
            send(stream, client)
            assert await outcome(stream, client) == ["12"]

    asyncio.run(asyncio.wait_for(attacked(attack), 20))


def test_time_is_up_for_a_request_that_never_ends():
    async def attack(stream, client):
        client.send_headers(1, [*to("/s/Unary"), ("grpc-timeout", "1m")])
        send(stream, client)
        assert await outcome(stream, client) == ["4"]

    asyncio.run(asyncio.wait_for(attacked(attack), 10))


def test_who_hangs_up_right_after_asking_leaves_nothing_behind():
    async def attack(stream, client):
        client.send_headers(1, to("/s/Unary"))
        client.send_data(1, b"\0\0\0\0\0", end_stream=True)
        client.reset_stream(1)
        send(stream, client)

    asyncio.run(asyncio.wait_for(attacked(attack), 10))
