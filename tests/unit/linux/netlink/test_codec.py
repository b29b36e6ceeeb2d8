import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.linux.netlink import codec, nfnetlink
from corten.linux.netlink.elements import concatenate

kinds = st.integers(0, codec.NLA_TYPE_MASK)
payloads = st.binary(max_size=64)


@given(st.lists(st.tuples(kinds, payloads)))
def test_attributes_survive_a_round_trip(pairs):
    data = b"".join(codec.attribute(kind, payload) for kind, payload in pairs)
    assert len(data) % 4 == 0
    assert list(codec.iterate_attributes(data)) == pairs
    assert codec.attributes(data) == dict(pairs)


@given(kinds, st.lists(st.tuples(kinds, payloads)))
def test_nested_attributes_survive_a_round_trip(outer, pairs):
    data = codec.nested(outer, *(codec.attribute(kind, payload) for kind, payload in pairs))
    ((kind, inside),) = codec.iterate_attributes(data)
    assert kind == outer
    assert list(codec.iterate_attributes(inside)) == pairs


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), payloads, st.integers(0, 0xFFFFFFFF)),
    )
)
def test_messages_survive_a_round_trip(messages):
    data = b"".join(
        codec.stamp(codec.message(kind, flags, payload), sequence)
        for kind, flags, payload, sequence in messages
    )
    parsed = [(m.kind, m.flags, m.payload, m.sequence) for m in codec.iterate_messages(data)]
    assert parsed == [
        (kind, flags | codec.NLM_F_REQUEST, payload, sequence) for kind, flags, payload, sequence in messages
    ]


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_but_never_runs_past_the_end(data):
    for parse in (codec.iterate_messages, codec.iterate_attributes):
        try:
            list(parse(data))
        except ValueError:
            pass


@given(st.lists(st.tuples(kinds, payloads), min_size=1), st.data())
def test_truncated_attributes_are_refused(pairs, data):
    whole = b"".join(codec.attribute(kind, payload) for kind, payload in pairs)
    unpadded = whole[: len(whole) - (-len(pairs[-1][1]) & 3)]
    start_of_last = len(whole) - len(codec.attribute(*pairs[-1]))
    cut = data.draw(st.integers(start_of_last + 1, len(unpadded) - 1))
    with pytest.raises(ValueError, match="netlink attribute"):
        list(codec.iterate_attributes(whole[:cut]))


def test_stamp_adds_flags_and_keeps_the_rest():
    message = codec.message(20, codec.NLM_F_CREATE, b"payload")
    (parsed,) = codec.iterate_messages(codec.stamp(message, 7, codec.NLM_F_ACK))
    assert parsed.sequence == 7
    assert parsed.flags == codec.NLM_F_CREATE | codec.NLM_F_REQUEST | codec.NLM_F_ACK
    assert parsed.payload == b"payload"


def test_limits():
    with pytest.raises(ValueError, match="too long"):
        codec.attribute(1, bytes(65532))
    with pytest.raises(ValueError, match="NUL"):
        codec.text(1, "a\0b")
    with pytest.raises(ValueError, match="expected 4 bytes"):
        codec.read_u32(b"123")
    assert codec.read_text(b"eth0\0") == "eth0"


def test_concatenated_fields_fill_whole_registers():
    assert concatenate(b"\x06", b"\x1f\x90", b"\x7f\0\0\x01") == b"\x06\0\0\0\x1f\x90\0\0\x7f\0\0\x01"


def test_nfnetlink_names_subsystem_and_family():
    (parsed,) = codec.iterate_messages(nfnetlink.message(nfnetlink.SUBSYSTEM_NFTABLES, 12, 0, 2, b""))
    assert parsed.kind == 0x0A0C
    assert parsed.payload == b"\x02\0\0\0"
