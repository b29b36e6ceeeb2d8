import os

import pytest

from corten.linux.files import PIECE, copy_content, pwrite_all, spread_directories, write_all

CONTENT = bytes(range(256)) * (PIECE // 100)


def test_all_is_written(tmp_path):
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    write_all(fd, CONTENT)
    write_all(fd, b"")
    assert os.pread(fd, len(CONTENT) + 1, 0) == CONTENT
    pwrite_all(fd, memoryview(CONTENT)[:PIECE], 1000)
    assert os.pread(fd, PIECE, 1000) == CONTENT[:PIECE]
    os.close(fd)


def test_spreading_is_only_a_wish(tmp_path):
    for directory in (tmp_path, "/proc", tmp_path):  # proc has no such flags
        spread_directories(str(directory))
    (tmp_path / "d").mkdir()


@pytest.mark.parametrize("pieces", [[], [(0, b"a")], [(0, b"a"), (3 << 20, b"z")], [(1 << 20, b"m")]])
def test_a_copy_has_the_holes_of_the_file(tmp_path, pieces):
    source = os.open(tmp_path / "source", os.O_RDWR | os.O_CREAT)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    for place, data in pieces:
        os.pwrite(source, data, place)
    os.ftruncate(source, 4 << 20)
    os.fsync(source)
    copy_content(source, target)
    os.fsync(target)
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
    assert os.fstat(target).st_blocks <= os.fstat(source).st_blocks
    os.close(source)
    os.close(target)
