import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.logs import files
from corten.logs.files import RotatedLog


def everything(log):
    parts = []
    while data := log.read_lines():
        parts.append(data)
    return b"".join(parts)


def write(path, *lines):
    with open(path, "ab") as file:
        file.writelines(line.encode() + b"\n" for line in lines)


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "log.2", "1", "2")
    write(tmp_path / "log.1", "3", "4", "5")
    write(tmp_path / "log", "6")
    return str(tmp_path / "log")


def test_reads_oldest_first(path):
    with RotatedLog(path) as log:
        assert everything(log) == b"1\n2\n3\n4\n5\n6\n"


@pytest.mark.parametrize("count", range(8))
def test_tail_counts_over_files(path, count):
    with RotatedLog(path) as log:
        log.seek_to_tail(count)
        expected = b"1\n2\n3\n4\n5\n6\n".splitlines(keepends=True)
        assert everything(log) == b"".join(expected[max(0, 6 - count) :])


def test_a_missing_log_is_empty_and_may_appear_later(tmp_path):
    with RotatedLog(str(tmp_path / "log")) as log:
        log.seek_to_tail(3)
        assert everything(log) == b""
        write(tmp_path / "log", "late")
        assert everything(log) == b"late\n"


def test_half_a_line_waits_for_its_end(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"whole\nha")
    with RotatedLog(str(path)) as log:
        assert everything(log) == b"whole\n"
        with open(path, "ab") as file:
            file.write(b"lf\n")
        assert everything(log) == b"half\n"


def test_two_rotations_between_reads_lose_nothing(path):
    with RotatedLog(path) as log:
        assert everything(log).endswith(b"6\n")
        write(path, "7")
        for line in ("8", "9"):
            os.rename(path + ".1", path + ".2")
            os.rename(path, path + ".1")
            write(path, line)
        assert everything(log) == b"7\n8\n9\n"


def test_rotation_with_nothing_new_in_the_old_file(path):
    with RotatedLog(path) as log:
        everything(log)
        os.rename(path, path + ".1")
        assert everything(log) == b""
        write(path, "7")
        assert everything(log) == b"7\n"


def test_truncation_starts_again(path):
    with RotatedLog(path) as log:
        everything(log)
        os.truncate(path, 0)
        assert everything(log) == b""
        write(path, "x")
        assert everything(log) == b"x\n"


@given(
    lines=st.lists(st.text("ab", max_size=9), max_size=30), count=st.integers(0, 35), block=st.integers(1, 16)
)
def test_tail_is_the_same_at_every_block_size(tmp_path_factory, lines, count, block):
    path = tmp_path_factory.mktemp("tail") / "log"
    write(path, *lines)
    kept, files._BLOCK = files._BLOCK, block
    try:
        with RotatedLog(str(path)) as log:
            log.seek_to_tail(count)
            assert everything(log).decode() == "".join(
                f"{line}\n" for line in lines[max(0, len(lines) - count) :]
            )
    finally:
        files._BLOCK = kept
