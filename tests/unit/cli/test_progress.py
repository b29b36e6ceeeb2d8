"""Progress on a terminal is byte for byte what docker 28.2.2 writes there; elsewhere plain lines."""

import json
import os
import pty
import struct
import termios
from fcntl import ioctl

import pytest

from corten.cli import progress
from corten.cli.errors import ExitError

PULL = [
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "bbb"},
    {"status": "Downloading", "progressDetail": {"current": 5000, "total": 100000}, "id": "aaa"},
    {"status": "Downloading", "progressDetail": {"current": 70000, "total": 100000}, "id": "bbb"},
    {"status": "Extracting", "progressDetail": {"current": 5, "units": "s"}, "id": "bbb"},
    {"status": "Extracting", "progressDetail": {"current": 700}, "id": "bbb"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"status": "Digest: sha256:abc"},
]
ON_TERMINAL = (
    "latest: Pulling from library/x\n"
    "\n\x1b[1A\x1b[2K\raaa: Pulling fs layer \r\x1b[1B"
    "\n\x1b[1A\x1b[2K\rbbb: Pulling fs layer \r\x1b[1B"
    f"\x1b[2A\x1b[2K\raaa: Downloading [==>{' ' * 48}]      5kB/100kB\r\x1b[2B"
    f"\x1b[1A\x1b[2K\rbbb: Downloading [{'=' * 35}>{' ' * 15}]     70kB/100kB\r\x1b[1B"
    "\x1b[1A\x1b[2K\rbbb: Extracting 5 s\r\x1b[1B"
    "\x1b[1A\x1b[2K\rbbb: Extracting     700B\r\x1b[1B"
    "\x1b[2A\x1b[2K\raaa: Pull complete \r\x1b[2B"
    "Digest: sha256:abc\n"
)


def stream(messages):
    return [json.dumps(message).encode() + b"\r\n" for message in messages]


def test_terminal():
    master, slave = pty.openpty()
    ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 120, 0, 0))
    progress.show(stream(PULL), slave)
    wanted = ON_TERMINAL.replace("\n", "\r\n").encode()
    shown = b""
    while len(shown) < len(wanted):  # the kernel hands over what was written in pieces, as it gets to it
        shown += os.read(master, 65536)
    assert shown == wanted
    os.close(master)
    os.close(slave)


def test_plain(tmp_path):
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    progress.show(stream(PULL), fd)
    os.close(fd)
    assert (tmp_path / "out").read_text().splitlines() == [
        "latest: Pulling from library/x",
        "aaa: Pulling fs layer",
        "bbb: Pulling fs layer",
        "aaa: Pull complete",
        "Digest: sha256:abc",
    ]


def test_objects_cut_anywhere():
    text = b"".join(stream(PULL)) + b'{"a":1}{"b":2}'
    for size in (1, 10, 1000):
        found = list(progress.messages(text[i : i + size] for i in range(0, len(text), size)))
        assert found == [*PULL, {"a": 1}, {"b": 2}]


def test_stream_that_breaks_off():
    with pytest.raises(ExitError, match="unexpected EOF"):
        list(progress.messages([b'{"status":"x"}\n{"sta']))


def test_errors_in_the_stream_end_it_with_their_code():
    with pytest.raises(ExitError) as caught:
        progress.show(stream([{"errorDetail": {"code": 7, "message": "boom"}, "error": "boom"}]), None)
    assert (str(caught.value), caught.value.code) == ("boom", 7)
