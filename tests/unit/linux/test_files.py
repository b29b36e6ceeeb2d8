import os

from corten.linux.files import PIECE, pwrite_all, spread_directories, write_all

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
