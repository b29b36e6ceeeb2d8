import gzip
import json
import os
import time

import pytest

from corten.logs.files import RotatedLog
from corten.supervisor.json_file import JsonFile, split_lines
from corten.supervisor.loop import Loop


def raise_(error):
    raise error


@pytest.fixture
def loop():
    return Loop(raise_)


def run_until(loop, condition):
    """Turn the loop until something is so."""
    deadline = time.monotonic() + 20

    def look():
        assert time.monotonic() < deadline
        if condition():
            loop.running = False
        else:
            loop.after(0.005, look)

    loop.running = True
    loop.after(0, look)
    loop.run()


def texts(path):
    with RotatedLog(str(path)) as log:
        found = b""
        while data := log.read_lines():
            found += data
    return [json.loads(line)["log"] for line in found.splitlines()]


def test_rotated_files_are_compressed_and_read_as_before(tmp_path, loop):
    path = tmp_path / "log"
    log = JsonFile({"path": str(path), "max_bytes": 2000, "max_files": 4, "compress": True}, loop)
    for number in range(150):
        log.write("stdout", [b"%d\n" % number])
    log.close()
    run_until(loop, lambda: not [e for e in os.listdir(path.parent) if not e.endswith((".gz", "log"))])
    assert sorted(os.listdir(path.parent)) == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]
    shown = texts(path)
    assert shown == [f"{n}\n" for n in range(150 - len(shown), 150)]
    assert gzip.decompress((path.parent / "log.1.gz").read_bytes()).count(b"\n") > 10


def test_a_follower_sees_each_line_once_while_files_are_compressed(tmp_path, loop):
    path = tmp_path / "log"
    log = JsonFile({"path": str(path), "max_bytes": 500, "max_files": 50, "compress": True}, loop)
    seen = b""
    with RotatedLog(str(path)) as reader:
        for number in range(200):
            log.write("stdout", [b"%d\n" % number])
            if number % 7 == 0:
                while data := reader.read_lines():
                    seen += data
            if number % 20 == 0:
                run_until(loop, lambda: not list(tmp_path.glob("*.compressing-*")))
        while data := reader.read_lines():
            seen += data
    log.close()
    run_until(loop, lambda: not list(tmp_path.glob("*.compressing-*")))
    assert [json.loads(line)["log"] for line in seen.splitlines()] == [f"{n}\n" for n in range(200)]


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path, loop):
    path = tmp_path / "log"
    (tmp_path / "log.compressing-77").write_text("half")
    (tmp_path / "log.1").write_text('{"log":"old\\n"}\n')
    log = JsonFile({"path": str(path), "max_bytes": 500, "max_files": 3, "compress": True}, loop)
    log.write("stdout", [b"new\n"])
    log.close()
    run_until(loop, lambda: (tmp_path / "log.1.gz").exists() and not (tmp_path / "log.1").exists())
    assert texts(path) == ["old\n", "new\n"]
    assert not (tmp_path / "log.compressing-77").exists()


def test_files_get_old(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"log":"old\\n","stream":"stdout","time":"2020-01-01T00:00:00Z"}\n')
    log = JsonFile({"path": str(path), "max_files": 2, "max_age_s": 3600})
    log.write("stdout", [b"new\n"])
    log.write("stdout", [b"newer\n"])
    log.close()
    assert (tmp_path / "log.1").read_text().count("old") == 1
    assert path.read_text().count("\n") == 2


def test_without_compression_files_are_renamed(tmp_path):
    path = tmp_path / "log"
    log = JsonFile({"path": str(path), "max_bytes": 300, "max_files": 3})
    for number in range(30):
        log.write("stderr", [b"%d\n" % number])
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    assert texts(path)[-1] == "29\n"


def test_a_flood_without_newlines_is_cut_and_not_kept():
    pieces, rest = split_lines(b"x" * 65537)
    assert ([len(piece) for piece in pieces], rest) == ([16384] * 4, 1)


def test_lines_are_whole_and_what_follows_them_is_counted():
    assert split_lines(b"one\n\ntwo\nthr") == ([b"one\n", b"\n", b"two\n"], 3)
    assert split_lines(b"") == ([], 0)
    long = b"x" * 16384
    assert split_lines(long + b"\n") == ([long, b"\n"], 0)


def test_a_write_that_was_cut_short_is_taken_back(tmp_path):
    told = []
    log = JsonFile({"path": str(tmp_path / "log")}, on_write=lambda *sizes: told.append(sizes))
    log.write("stdout", [b"one\n"])
    log.write("stdout", [b"two\n"])
    log.close()
    before, after = told[1]
    assert not JsonFile({"path": str(tmp_path / "log")}).undo(before, after)
    os.truncate(tmp_path / "log", after - 3)
    assert JsonFile({"path": str(tmp_path / "log")}).undo(before, after)
    assert texts(tmp_path / "log") == ["one\n"]


def test_a_rotation_that_was_cut_short_goes_on(tmp_path):
    for name, text in (("log", "3"), ("log.2", "2"), ("log.3", "1")):
        (tmp_path / name).write_text(f'{{"log":"{text}\\n","stream":"stdout","time":"x"}}\n')
    log = JsonFile({"path": str(tmp_path / "log"), "max_bytes": 10, "max_files": 4})
    log.write("stdout", [b"4\n"])
    log.close()
    assert texts(tmp_path / "log") == ["1\n", "2\n", "3\n", "4\n"]
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2", "log.3"]
