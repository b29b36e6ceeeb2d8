import os
import random
import struct

import pytest

from corten.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Close,
    Data,
    Decoder,
    Ping,
    WebSocketError,
    accept,
    frame,
    unmasked,
)  # fmt: skip


def client(opcode, payload, *, final=True, mask=b"\x01\x02\x03\x04", size=None):
    size = len(payload) if size is None else size
    first = (0x80 if final else 0) | opcode
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + mask + unmasked(payload, mask)


def test_the_key_of_the_rfc():
    assert accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    for bad in (b"", b"short", b"!" * 24):
        with pytest.raises(WebSocketError):
            accept(bad)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000, 100_000])
def test_messages_however_they_are_cut(step):
    chance = random.Random(step)
    messages = [chance.randbytes(size) for size in (0, 1, 125, 126, 5, 65536, 3)]
    mask = chance.randbytes(4)
    stream = b"".join(client(BINARY, message, mask=mask) for message in messages)
    decoder = Decoder()
    events = [e for at in range(0, len(stream), step) for e in decoder.feed(stream[at : at + step])]
    assert b"".join(e.data for e in events) == b"".join(messages)


def test_fragments_with_a_ping_between_them():
    decoder = Decoder()
    stream = (
        client(TEXT, b"a", final=False) + client(PING, b"p") + client(PONG, b"") + client(CONTINUATION, b"b")
    )
    assert list(decoder.feed(stream)) == [Data(b"a"), Ping(b"p"), Data(b"b")]


def test_nothing_follows_a_close():
    assert list(Decoder().feed(client(CLOSE, b"\x03\xe8") + client(BINARY, b"late"))) == [Close()]


def test_a_huge_frame_is_not_kept():
    decoder = Decoder()
    head = client(BINARY, b"", size=1 << 40)
    assert next(decoder.feed(head + b"x" * 1000)).data == unmasked(b"x" * 1000, b"\x01\x02\x03\x04")
    assert len(decoder._buffer) == 0


@pytest.mark.parametrize(
    "bad",
    [
        frame(BINARY, b"not masked"),
        b"\xc2" + client(BINARY, b"x")[1:],
        client(CONTINUATION, b"of nothing"),
        client(TEXT, b"a", final=False) + client(TEXT, b"b"),
        client(0x3, b""),
        client(PING, b"x" * 126),
        client(PING, b"", final=False),
        client(BINARY, b"", size=1 << 63),
    ],
)
def test_what_no_client_may_send(bad):
    with pytest.raises(WebSocketError):
        list(Decoder().feed(bad))


def test_sizes_of_frames():
    for size in (0, 125, 126, 65535, 65536):
        data = os.urandom(size)
        assert frame(BINARY, data).endswith(data)
        assert len(frame(BINARY, data)) - size == (2 if size < 126 else 4 if size < 65536 else 10)
