"""Frames that are joined mean what they meant."""

import os
import random

from hypothesis import given
from hypothesis import strategies as st

from corten.buildkit.frames import FrameJoiner


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def parsed(data: bytes) -> list[tuple[int, int, int, bytes]]:
    frames = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        frames.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end]))
        data = data[end:]
    return frames


def merged(frames: list[tuple[int, int, int, bytes]]) -> list[tuple[int, int, int, bytes]]:
    """The same with the content of neighbouring DATA frames of a stream in one."""
    found: list[tuple[int, int, int, bytes]] = []
    for kind, flags, stream, payload in frames:
        if kind == flags == 0 and found and found[-1][:3] == (0, 0, stream):
            payload = found.pop()[3] + payload
        found.append((kind, flags, stream, payload))
    return found


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 8]),
        st.sampled_from([0, 0, 1]),
        st.integers(1, 3),
        st.binary(max_size=40),
    )
)


@given(FRAMES, st.integers(1, 200))
def test_nothing_is_lost_or_moved(frames, step):
    data = b"".join(frame(*each) for each in frames)
    joiner = FrameJoiner()
    out = b"".join(joiner.feed(data[start : start + step]) for start in range(0, len(data), step))
    assert merged(parsed(out)) == merged(frames)


def test_neighbours_become_one_but_none_is_too_long():
    payloads = [os.urandom(random.Random(each).randrange(3000)) for each in range(100)]
    out = parsed(FrameJoiner().feed(b"".join(frame(0, 0, 1, each) for each in payloads)))
    assert b"".join(each[3] for each in out) == b"".join(payloads)
    assert len(out) < 20
    assert max(len(each[3]) for each in out) <= 16384


def test_a_frame_that_is_too_long_is_passed_on_at_once():
    long = frame(0, 0, 1, bytes(1 << 16))[:100]
    assert FrameJoiner().feed(long) == long
