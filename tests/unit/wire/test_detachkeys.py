# ruff: noqa: E501
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.wire import detachkeys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-@,ctrl-[,ctrl-_", b"\0\x1b\x1f"),
        ("CTRL-a", b"\1"),
    ],
)
def test_sequences(text, keys):
    assert detachkeys.parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,", "\u00e4"])
def test_bad_sequences(text):
    with pytest.raises(ValueError, match="Unknown character"):
        detachkeys.parse(text)


keys = st.binary(min_size=1, max_size=4)


@given(keys, st.binary(max_size=60), st.integers(1, 8))
def test_everything_before_the_first_sequence_passes(sequence, typed, step):
    scanner = detachkeys.Scanner(sequence)
    passed, found = b"", False
    for at in range(0, len(typed), step):
        data, found = scanner.feed(typed[at : at + step])
        passed += data
        if found:
            break
    if sequence in typed:
        assert found
        assert passed == typed[: typed.index(sequence)]
    else:
        assert not found
        assert typed.startswith(passed)
        held = typed[len(passed) :]
        assert sequence.startswith(held)


def test_no_keys_never_detach():
    assert detachkeys.Scanner(b"").feed(b"\x10\x11") == (b"\x10\x11", False)
