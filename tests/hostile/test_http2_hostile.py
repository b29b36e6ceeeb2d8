"""HTTP/2 of a peer that means no good: the RFC's answer to everything, and nothing that grows without bounds.

Every test speaks in frames of its own making to a server of ours; there is no engine behind it.
"""

import asyncio
import random
import struct

import pytest

from corten.http2 import frames
from corten.http2.ends import Client, Server
from corten.http2.errors import ErrorCode
from corten.http2.hpack import encode
from corten.http2.settings import MAX_STREAMS
from corten.http2.settings import STREAM_WINDOW as WINDOW
from corten.http2.stream import Stream
from fakestream import FakeStream

FIELDS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x")]
BLOCK = encode(FIELDS)
HEADERS = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, BLOCK)
GREETING = frames.PREFACE + frames.settings({})
MEMORY = 8 << 20  # that no attack may cost


def settings(*pairs):
    return frames.frame(frames.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def raw(length, kind, flags, stream, payload):
    return frames.HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


class Lazy(Stream):
    """Takes nothing of what has come."""


def told(data):
    """Codes of the frames GOAWAY and RST_STREAM among what was sent: ("goaway" or stream, code)."""
    found = []
    while data:
        high, low, kind, _, stream = frames.HEAD.unpack_from(data)
        end = frames.HEAD.size + (high << 8 | low)
        payload, data = data[frames.HEAD.size : end], data[end:]
        if kind == frames.GOAWAY:
            found.append(("goaway", ErrorCode(int.from_bytes(payload[4:8], "big"))))
        elif kind == frames.RST_STREAM:
            found.append((stream, ErrorCode(int.from_bytes(payload, "big"))))
    return found


def answered(*attack, greeting=GREETING, make=Lazy, client=False):
    """What a server says to it, and whether it goes on."""

    async def run():
        stream = FakeStream()
        end = Client(stream) if client else Server(stream, make)
        end.start()
        stream.consumer.on_data(greeting)
        for data in attack:
            stream.consumer.on_data(data)
            await asyncio.sleep(0)
        goes_on = not end.ended.done()
        end.close()
        return told(bytes(stream.sent)), goes_on

    return asyncio.run(run())


def full(identifier):
    """A stream with as much data as it may have."""
    begin = frames.frame(frames.HEADERS, frames.END_HEADERS, identifier, BLOCK)
    return begin + frames.frame(frames.DATA, 0, identifier, bytes(16_384)) * (WINDOW // 16_384)


P, F, S = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR, ErrorCode.STREAM_CLOSED
FLOW, CALM, BAD = ErrorCode.FLOW_CONTROL_ERROR, ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.COMPRESSION_ERROR
UPDATE = frames.WINDOW_UPDATE
CONTINUED = frames.frame(frames.HEADERS, 0, 1, BLOCK)


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (raw(16_385, frames.DATA, 0, 1, b""), F),
        (frames.frame(frames.DATA, 0, 0, b"x"), P),
        (frames.frame(frames.DATA, 0, 1, b"x"), P),  # nobody has opened it
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 0, BLOCK), P),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 2, BLOCK), P),
        (frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1, b"\xff" + BLOCK), P),
        (frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1), F),
        (frames.frame(frames.HEADERS, frames.END_HEADERS | frames.HAS_PRIORITY, 1, b"123"), F),
        (frames.frame(frames.PRIORITY, 0, 0, b"12345"), P),
        (frames.frame(frames.RST_STREAM, 0, 0, b"1234"), P),
        (frames.frame(frames.RST_STREAM, 0, 3, b"1234"), P),
        (HEADERS + frames.frame(frames.RST_STREAM, 0, 1, b"123"), F),
        (frames.frame(frames.SETTINGS, 0, 1), P),
        (frames.frame(frames.SETTINGS, frames.ACK, 0, b"123456"), F),
        (frames.frame(frames.SETTINGS, 0, 0, b"12345"), F),
        (settings((2, 2)), P),
        (settings((4, 1 << 31)), FLOW),
        (settings((5, 16_383)), P),
        (settings((5, 1 << 24)), P),
        (HEADERS + frames.window_update(1, (1 << 31) - 1 - 65_535) + settings((4, 65_536)), FLOW),
        (frames.frame(frames.PUSH_PROMISE, frames.END_HEADERS, 1, b"\0\0\0\2" + BLOCK), P),
        (frames.frame(frames.PING, 0, 0, b"1234567"), F),
        (frames.frame(frames.PING, 0, 1, b"12345678"), P),
        (frames.frame(frames.GOAWAY, 0, 0, b"1234567"), F),
        (frames.frame(frames.GOAWAY, 0, 1, b"12345678"), P),
        (frames.frame(UPDATE, 0, 0, b"123"), F),
        (frames.frame(UPDATE, 0, 0, b"\0\0\0\0"), P),
        (frames.frame(UPDATE, 0, 5, b"\0\0\0\1"), P),
        (frames.window_update(0, (1 << 31) - 1), FLOW),
        (frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, b""), P),
        (CONTINUED + frames.frame(frames.PING, 0, 0, b"12345678"), P),
        (CONTINUED + frames.frame(frames.CONTINUATION, 0, 3, b""), P),
        (CONTINUED + frames.frame(frames.CONTINUATION, 0, 1, b"") * 100, CALM),
        (CONTINUED + frames.frame(frames.CONTINUATION, 0, 1, b"x" * 16_384) * 5, CALM),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x80"), BAD),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x00\x84\xff\xff\xff\xff\x01a"), BAD),
        (
            frames.frame(
                frames.HEADERS,
                frames.END_HEADERS,
                1,
                encode([(b"a", b"x" * 4000)]).replace(b"\x00", b"\x40", 1) + b"\xbe" * 10_000,
            ),
            CALM,
        ),
        (b"".join(map(full, (1, 3, 5, 7, 9))), FLOW),
    ],
)
def test_what_ends_the_connection(attack, code):
    found, goes_on = answered(attack)
    assert found[-1] == ("goaway", code)
    assert not goes_on


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (HEADERS + frames.frame(frames.DATA, frames.END_STREAM, 1) + frames.frame(frames.DATA, 0, 1), S),
        (HEADERS + frames.frame(frames.DATA, frames.END_STREAM, 1) + HEADERS, S),
        (HEADERS + frames.frame(UPDATE, 0, 1, b"\0\0\0\0"), P),
        (HEADERS + frames.window_update(1, (1 << 31) - 1), FLOW),
        (HEADERS + frames.frame(frames.PRIORITY, 0, 1, b"1234"), F),
        (HEADERS + frames.frame(frames.DATA, 0, 1, bytes(16_384)) * (WINDOW // 16_384 + 1), FLOW),
    ],
)
def test_what_ends_a_stream_and_no_other(attack, code):
    other = frames.frame(frames.HEADERS, frames.END_HEADERS, 3, BLOCK)
    assert answered(attack, other) == ([(1, code)], True)


@pytest.mark.parametrize("greeting", [b"GET / HTTP/1.1\r\n\r\n", frames.PREFACE + HEADERS, b"\0" * 100])
def test_who_does_not_begin_as_agreed(greeting):
    found, goes_on = answered(greeting=greeting)
    assert found == [("goaway", P)] and not goes_on


def test_a_server_may_not_push_or_answer_what_was_not_asked():
    for attack in (
        frames.frame(frames.HEADERS, frames.END_HEADERS, 2, BLOCK),
        frames.frame(frames.HEADERS, frames.END_HEADERS, 1, BLOCK),
    ):
        found, goes_on = answered(attack, greeting=frames.settings({}), client=True)
        assert found == [("goaway", P)] and not goes_on


def test_streams_dropped_as_soon_as_they_are_opened():
    """CVE-2023-44487."""

    def flood():
        for identifier in range(1, 20_000, 2):
            yield frames.frame(frames.HEADERS, frames.END_HEADERS, identifier, BLOCK)
            yield frames.reset(identifier, ErrorCode.CANCEL)

    found, goes_on = answered(b"".join(flood()))
    assert found == [("goaway", CALM)] and not goes_on


def test_streams_that_we_are_made_to_drop():
    """CVE-2025-8671."""

    def flood():
        for identifier in range(1, 20_000, 2):
            yield frames.frame(frames.HEADERS, frames.END_HEADERS, identifier, BLOCK)
            yield frames.frame(UPDATE, 0, identifier, bytes(4))

    found, goes_on = answered(b"".join(flood()))
    assert found[-1] == ("goaway", CALM) and not goes_on
    assert len(found) < 2000


def test_more_streams_than_are_served():
    made = []

    def make(connection, identifier):
        if len(made) == MAX_STREAMS:
            return None
        made.append(Lazy(connection, identifier))
        return made[-1]

    opened = [
        frames.frame(frames.HEADERS, frames.END_HEADERS, 2 * n + 1, BLOCK) for n in range(MAX_STREAMS + 9)
    ]
    found, goes_on = answered(b"".join(opened), make=make)
    refused = range(2 * MAX_STREAMS + 1, 2 * (MAX_STREAMS + 9), 2)
    assert found == [(identifier, ErrorCode.REFUSED_STREAM) for identifier in refused]
    assert goes_on


@pytest.mark.parametrize("frame", [frames.frame(frames.PING, 0, 0, bytes(8)), frames.settings({})])
def test_who_asks_and_does_not_listen_is_not_listened_to(frame):
    """Answers would pile up otherwise (CVE-2019-9512, CVE-2019-9515)."""

    async def run():
        stream = FakeStream()
        Server(stream, Lazy).start()
        stream.consumer.on_data(GREETING)
        stream.writable = False
        pieces = 0
        while not stream.paused and pieces < 100:
            stream.consumer.on_data(frame * 10_000)
            pieces += 1
            await asyncio.sleep(0)
        assert pieces <= 2
        assert len(stream.sent) < MEMORY
        stream.abort()

    asyncio.run(run())


def test_data_of_streams_that_have_ended_uses_up_no_window():

    async def run():
        stream = FakeStream()
        made = []
        server = Server(
            stream, lambda connection, identifier: made.append(Lazy(connection, identifier)) or made[-1]
        )
        server.start()
        stream.consumer.on_data(GREETING + HEADERS)
        made[0].reset(ErrorCode.CANCEL)
        for _ in range(100):
            stream.consumer.on_data(frames.frame(frames.DATA, 0, 1, bytes(16_384)) * 10)
        assert not server.ended.done()
        server.close()

    asyncio.run(run())


def test_noise():
    """Bytes at random, and good frames with a few bytes changed: never anything but an orderly end."""
    numbers = random.Random(1)
    good = GREETING + HEADERS + frames.frame(frames.DATA, 0, 1, b"x" * 100) + frames.window_update(1, 5)
    for _ in range(300):
        noise = bytearray(good * 2)
        for _ in range(numbers.randint(1, 6)):
            noise[numbers.randrange(len(frames.PREFACE), len(noise))] = numbers.randrange(256)
        found, goes_on = answered(bytes(noise), greeting=b"")
        assert goes_on or found[-1][0] == "goaway"
        assert ("goaway", ErrorCode.INTERNAL_ERROR) not in found
        answered(frames.PREFACE + frames.settings({}) + numbers.randbytes(300), greeting=b"")
