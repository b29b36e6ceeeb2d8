# ruff: noqa: E501
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.wire import http1


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=10), st.integers(1, 40), st.binary(max_size=20))
def test_chunked_bodies_round_trip_in_any_pieces(pieces, step, behind):
    data = b"".join(map(http1.chunk, pieces)) + http1.LAST_CHUNK + behind
    decoder = http1.ChunkedDecoder()
    received = b""
    position = 0
    while not decoder.done:
        received += b"".join(decoder.feed(data[position : position + step]))
        position += step
    assert received == b"".join(pieces)
    assert decoder.rest + data[position:] == behind


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data):
    decoder = http1.ChunkedDecoder()
    try:
        list(decoder.feed(data))
    except http1.ProtocolError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"5\n",
        b"5 x\r\n",
        b"0x5\r\n",
        b"_5\r\n",
        b"5\rx\r\n",
        b"5\r\nhelloworld",
        b"0\r\nA\nB\r\n\r\n",
        b"0\r\n" + b"x" * 9000,
    ],
)
def test_malformed_chunks(data):
    with pytest.raises(http1.ProtocolError):
        list(http1.ChunkedDecoder().feed(data))


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b" 1", b"1_0", b"0x1", b"1" * 19, b"\xb2"])
def test_bad_content_lengths(value):
    with pytest.raises(http1.ProtocolError):
        http1.content_length(value)


def test_tokens():
    assert http1.has_token(b"keep-alive, Upgrade", b"upgrade")
    assert not http1.has_token(b"upgrades", b"upgrade")


def test_queries():
    assert http1.parse_query(b"a=1&b=x+y%2Fz&a=2&c&=d&&e=%zz%C3%A4") == {
        "a": ["1", "2"],
        "b": ["x y/z"],
        "c": [""],
        "": ["d"],
        "e": ["%zz\u00e4"],
    }


@given(st.binary(max_size=100))
def test_any_query_is_read(raw):
    http1.parse_query(raw)
