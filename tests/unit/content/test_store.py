import os

import pytest

from corten.content import BlobStore, SizeMismatch
from corten.digest import DigestMismatch, digest_of
from corten.errors import NotFound


@pytest.fixture
def store(tmp_path):
    return BlobStore(str(tmp_path))


def leftovers(tmp_path):
    return os.listdir(tmp_path / "tmp")


def test_content_is_found_by_its_digest(store, tmp_path):
    with store.writer() as w:
        w.write(b"hello ")
        w.write(memoryview(b"world"))
        digest = w.commit()
    assert digest == digest_of(b"hello world")
    assert store.has(digest)
    assert store.size(digest) == 11
    assert store.read(digest, 11) == b"hello world"
    assert list(store) == [digest]
    assert leftovers(tmp_path) == []


def test_wrong_digest_leaves_nothing(store, tmp_path):
    with pytest.raises(DigestMismatch), store.writer(digest_of(b"x")) as w:
        w.write(b"y")
        w.commit()
    assert list(store) == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("data", [b"abc", b"abcde"])
def test_wrong_size_is_refused(store, tmp_path, data):
    with pytest.raises(SizeMismatch), store.writer(expected_size=4) as w:
        w.write(data)
        w.commit()
    assert leftovers(tmp_path) == []


def test_too_long_content_is_refused_before_it_fills_the_disk(store):
    with store.writer(expected_size=4) as w:
        w.write(b"1234")
        with pytest.raises(SizeMismatch):
            w.write(b"5")


def test_same_content_twice_is_one_blob(store, tmp_path):
    for _ in range(2):
        with store.writer() as w:
            w.write(b"x")
            w.commit()
    assert len(list(store)) == 1
    assert leftovers(tmp_path) == []


def test_missing_content(store):
    with pytest.raises(NotFound):
        store.open(digest_of(b"x"))
    assert not store.delete(digest_of(b"x"))


def test_read_is_bounded(store):
    with store.writer() as w:
        w.write(b"12345")
        digest = w.commit()
    with pytest.raises(SizeMismatch):
        store.read(digest, 4)


def test_adopt_takes_a_finished_file(store, tmp_path):
    path = tmp_path / "tmp" / "spooled"
    path.write_bytes(b"spool")
    store.adopt(str(path), digest_of(b"spool"))
    assert store.read(digest_of(b"spool"), 10) == b"spool"
    assert leftovers(tmp_path) == []
