"""What is known of a directory: all that was written, or nothing."""

import os
import stat

import pytest

from corten.builder.treeindex import KnownDigests, TreeIndex

FILE, DIRECTORY = ((kind, 0, 0, 1, 2, "", ()) for kind in (stat.S_IFREG, stat.S_IFDIR))


def test_digests_are_found_of_directories_and_of_files(tmp_path):
    path = str(tmp_path / "index")
    TreeIndex({"": (DIRECTORY, b"root"), "d": (DIRECTORY, b"dir"), "d/f": (FILE, b"file")}).save(path)
    find = KnownDigests(path).find
    assert [find(each) for each in ("", "d", "d/f", "d/g")] == [b"root", b"dir", b"file", None]
    assert KnownDigests("").find("d") is None


def test_an_index_that_is_half_written_is_none(tmp_path, monkeypatch):
    path = str(tmp_path / "index")
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        TreeIndex({"f": (FILE, b"old")}).save(path)
    assert TreeIndex.load(path).files == {}
    TreeIndex({"f": (FILE, b"new")}).save(path)
    assert KnownDigests(path).find("f") == b"new"
    assert os.listdir(tmp_path) == ["index"]
