"""Header fields: what the hpack library encodes we decode, and the other way round; nonsense is refused."""

import hpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corten.http2.hpack import Decoder, HeadersTooLarge, HPACKError, encode, huffman
from corten.http2.hpack.encoder import NO_TABLE
from corten.http2.hpack.statictable import STATIC

_LIMIT = 1 << 16

names = st.sampled_from([name for name, _ in STATIC]) | st.binary(max_size=200)
fields = st.tuples(names, st.binary(max_size=300)) | st.sampled_from(STATIC)
blocks = st.lists(st.lists(fields, max_size=12), max_size=8)


@given(blocks, st.booleans(), st.lists(st.integers(0, 4096), max_size=8))
def test_decodes_what_others_encode(blocks, is_coded, sizes):
    encoder, decoder = hpack.Encoder(), Decoder(_LIMIT)
    for number, block in enumerate(blocks):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        assert decoder.decode(encoder.encode(block, huffman=is_coded)) == block


@given(blocks)
def test_others_decode_what_we_encode(blocks):
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 0
    for number, block in enumerate(blocks):
        decoded = decoder.decode((NO_TABLE if number == 0 else b"") + encode(block), raw=True)
        assert [(bytes(name), bytes(value)) for name, value in decoded] == block


@given(st.lists(st.binary(max_size=100), max_size=5))
@example([b"\x82", b"\x3f\xe1\x1f"])
def test_anything_is_decoded_or_refused(blocks):
    decoder = Decoder(_LIMIT)
    for block in blocks:
        try:
            for name, value in decoder.decode(block):
                assert isinstance(name, bytes) and isinstance(value, bytes)
        except HPACKError:
            return


@given(st.binary(max_size=600))
def test_huffman(data):
    encoder = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    )
    assert huffman.decode(encoder.encode(data)) == data


@pytest.mark.parametrize("data", [b"\xff", b"\xff" * 4, b"\x00", b"\x1e", b"\x1f\xff"])
def test_huffman_that_is_wrong(data):
    """Padding of a byte, the code of the end, padding that is not ones; RFC 7541, 5.2."""
    with pytest.raises(ValueError):
        huffman.decode(data)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # entry 0
        b"\xbe",  # the newest of no entries
        b"\xff\x80\x80\x80\x80\x80\x01",  # an integer without an end
        b"\xff",
        b"\x40\x7f",
        b"\x40\x05abc",
        b"\x40\x01a",
        b"\x00\x83\xff\xff\xff\x01a",
        b"\x3f\xe2\x1f",  # a table of 4097 bytes
        b"\x82\x20",  # a size amid the fields
    ],
)
def test_blocks_that_say_nothing(block):
    with pytest.raises(HPACKError):
        Decoder(_LIMIT).decode(block)


def test_a_small_block_that_says_much():
    """A large entry, said again and again with a byte each."""
    decoder = Decoder(_LIMIT)
    value = b"x" * 4000
    assert decoder.decode(encode([(b"a", value)]).replace(b"\x00", b"\x40", 1)) == [(b"a", value)]
    with pytest.raises(HeadersTooLarge):
        decoder.decode(b"\xbe" * 1000)


def test_an_entry_larger_than_the_table_empties_it():
    decoder = Decoder(_LIMIT)
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.decode(b"\xbe") == [(b"a", b"b")]
    large = encode([(b"a", b"x" * 5000)]).replace(b"\x00", b"\x40", 1)
    decoder.decode(large)
    with pytest.raises(HPACKError):
        decoder.decode(b"\xbe")
