import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.wire import stdcopy

frames = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=300)), max_size=20)


@given(frames, st.integers(1, 50))
def test_frames_round_trip_in_any_pieces(sent, step):
    data = b"".join(stdcopy.frame(stream, payload) for stream, payload in sent)
    decoder = stdcopy.Decoder()
    received = []
    for at in range(0, len(data), step):
        received += decoder.feed(data[at : at + step])
    assert received == sent
    assert decoder.pending == 0


def test_a_cut_frame_is_seen():
    decoder = stdcopy.Decoder()
    assert list(decoder.feed(stdcopy.frame(1, b"abc")[:-1])) == []
    assert decoder.pending == 10


@pytest.mark.parametrize("data", [b"HTTP/1.1 200", b"\x01\0\0\0\xff\xff\xff\xff"])
def test_what_is_no_frame(data):
    with pytest.raises(stdcopy.FrameError):
        list(stdcopy.Decoder().feed(data))
