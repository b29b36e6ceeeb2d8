import pytest

from corten.images.image import chain_ids
from corten.images.removal import _is_single
from corten.images.times import created_ns
from corten.reference import parse_normalized
from imagefiles import sha256


def test_chain_ids():
    a, b, c = sha256(b"a"), sha256(b"b"), sha256(b"c")
    ab = sha256(f"{a} {b}".encode())
    assert chain_ids([a, b, c]) == [a, ab, sha256(f"{ab} {c}".encode())]
    assert chain_ids([]) == []


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2024-01-02T03:04:05.678901234+01:00", 1704161045678901234),
        ("0001-01-01T00:00:00Z", 0),
        (None, 0),
        ("", 0),
        ("yesterday", 0),
        ("2024-13-41T99:99:99Z", 0),
    ],
)
def test_creation_times(text, ns):
    assert created_ns(text) == ns


@pytest.mark.parametrize(
    ("names", "single"),
    [
        ([], False),
        (["x:1"], True),
        (["x:1", "x@" + sha256(b"")], True),
        (["x@" + sha256(b"")], True),
        (["x:1", "x:2"], False),
        (["x:1", "y@" + sha256(b"")], False),
    ],
)
def test_single_references(names, single):
    assert _is_single([parse_normalized(n) for n in names]) is single
