"""Log servers: what arrives there, and what becomes of the container's output when they are slow or away."""

import gzip
import json
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from corten.supervisor.log_formats import Fluentd, Gelf, Journald, Syslog
from corten.supervisor.loop import Loop
from corten.supervisor.remote_log import RemoteLog


def raise_(error):
    raise error


@pytest.fixture
def loop():
    return Loop(raise_)


@pytest.fixture
def open_log(loop):
    """Open a RemoteLog, and end it after the test."""
    opened = []

    def open_it(log, on_change=lambda: None):
        opened.append(RemoteLog(log, loop, on_change))
        return opened[-1]

    yield open_it
    for log in opened:
        log._end()


def turn(loop, condition):
    """Run the loop until something is so."""
    deadline = time.monotonic() + 20

    def look():
        assert time.monotonic() < deadline
        if condition():
            loop.running = False
        else:
            loop.after(0.002, look)

    loop.running = True
    loop.after(0, look)
    loop.run()


NOW = 1_700_000_000_123_456_789
SYSLOG = {"format": "syslog", "facility": 3, "tag": "t", "hostname": "h", "pid": 7, "style": ""}


@pytest.mark.parametrize(
    ("network", "style", "pattern"),
    [
        ("unixgram", "", "<30>Nov 14 22:13:20 t[7]: hello\n"),
        ("udp", "", "<30>2023-11-14T22:13:20Z h t[7]: hello\n"),
        ("udp", "rfc3164", "<30>Nov 14 22:13:20 h t[7]: hello\n"),
        ("tcp", "rfc5424", "<30>1 2023-11-14T22:13:20Z h t 7 t - hello\n"),
        ("tcp", "rfc5424micro", "<30>1 2023-11-14T22:13:20.123456Z h t 7 t - hello\n"),
    ],
)
def test_syslog_formats(network, style, pattern, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    encoder = Syslog({**SYSLOG, "network": network, "style": style})
    assert encoder.encode("stdout", b"hello\n", NOW) == [pattern.encode()]
    assert encoder.encode("stderr", b"x\n", NOW)[0].startswith(b"<27>")


def test_syslog_over_tls_counts_octets():
    encoder = Syslog({**SYSLOG, "network": "tcp+tls", "style": "rfc5424", "counted": True})
    (message,) = encoder.encode("stdout", b"hello\n", NOW)
    length, _, rest = message.partition(b" ")
    assert int(length) == len(rest) and rest.endswith(b"hello")


def test_gelf_is_compressed_and_cut():
    remote = {"network": "udp", "host": "h", "fields": {"_container_name": 'a"b'}}
    (small,) = Gelf(remote).encode("stderr", b"hello\n", NOW)
    document = json.loads(gzip.decompress(small))
    assert document == {
        "version": "1.1",
        "host": "h",
        "short_message": "hello",
        "timestamp": 1700000000.123,
        "level": 3,
        "_container_name": 'a"b',
    }
    parts = Gelf({**remote, "compression": "none"}).encode("stdout", b"y" * 16384, NOW)
    assert len(parts) == 12 and {part[:10] for part in parts} == {parts[0][:10]}
    assert [part[10:12] for part in parts] == [bytes((i, 12)) for i in range(12)]
    assert json.loads(b"".join(part[12:] for part in parts))["short_message"] == "y" * 16384
    (line,) = Gelf({**remote, "network": "tcp"}).encode("stdout", b"hello\n", NOW)
    assert line.endswith(b"\0") and json.loads(line[:-1])["level"] == 6


def unpack(data, at=0):
    """Enough MessagePack for a test: (value, where it ends)."""
    first = data[at]
    if 0x90 <= first <= 0x9F or 0x80 <= first <= 0x8F:
        count, at, values = first & 15, at + 1, []
        for _ in range(count * (2 if first < 0x90 else 1)):
            value, at = unpack(data, at)
            values.append(value)
        return (dict(zip(values[::2], values[1::2], strict=True)) if first < 0x90 else values), at
    if first == 0xCE:
        return struct.unpack(">I", data[at + 1 : at + 5])[0], at + 5
    if first == 0xD7:
        return struct.unpack(">II", data[at + 2 : at + 10]), at + 10
    size, head = {0xD9: (data[at + 1], 2), 0xDA: (int.from_bytes(data[at + 1 : at + 3], "big"), 3)}.get(
        first, (first & 31, 1)
    )
    return data[at + head : at + head + size].decode(), at + head + size


def test_fluentd_messages():
    remote = {"tag": "t", "fields": {"container_id": "c" * 64, "container_name": "/n"}}
    (message,) = Fluentd(remote).encode("stdout", b"hello\n", NOW)
    record = {"container_id": "c" * 64, "container_name": "/n", "source": "stdout", "log": "hello"}
    assert unpack(message) == (["t", 1_700_000_000, record, {}], len(message))
    (piece,) = Fluentd({**remote, "precise": True}).encode("stdout", b"z" * 300, NOW)
    tag, moment, record, _ = unpack(piece)[0]
    assert moment == (1_700_000_000, 123_456_789)
    assert (record["partial_message"], record["log"]) == ("true", "z" * 300)


def test_journald_fields():
    (message,) = Journald({"fields": {"CONTAINER_NAME": "n", "L": "a\nb"}}).encode("stderr", b"hi\n", NOW)
    assert message == b"MESSAGE=hi\nPRIORITY=3\nCONTAINER_NAME=n\nL\n\x03\0\0\0\0\0\0\0a\nb\n"


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def remote_to(server, **more):
    return {"remote": {**SYSLOG, "network": "tcp", "address": server.getsockname()[:2], **more}}


def test_lines_arrive_and_the_end_waits_for_them(server, loop, open_log):
    log = open_log(remote_to(server))
    log.write("stdout", [b"one\n", b"two\n"])
    log.close()
    connection, _ = server.accept()
    got = b""
    with connection:
        connection.setblocking(False)

        def ended():
            nonlocal got
            try:
                data = connection.recv(65536)
            except BlockingIOError:
                return False
            got += data
            return not data

        turn(loop, ended)
    assert [line.rpartition(b": ")[2] for line in got.splitlines()] == [b"one", b"two"]


def test_a_slow_server_makes_the_container_wait(server, loop, open_log):
    changes = []
    log = open_log(remote_to(server), lambda: changes.append(log.full))
    connection, _ = server.accept()
    turn(loop, lambda: log._connected)
    while not log.full:
        log.write("stdout", [b"x" * 16000 + b"\n"] * 10)
    assert log.dropped == 0
    connection.setblocking(False)

    def read():
        try:
            connection.recv(1 << 20)
        except BlockingIOError:
            pass
        return changes

    turn(loop, read)
    assert changes == [False]
    connection.close()


def test_nonblocking_mode_loses_lines_instead(server, loop, open_log):
    log = open_log(remote_to(server, mode="non-blocking", max_buffer=100_000))
    connection, _ = server.accept()
    turn(loop, lambda: log._connected)
    for _ in range(2000):
        log.write("stdout", [b"x" * 16000 + b"\n"])
    assert not log.full and log.dropped > 0 and log._queued < 200_000
    connection.close()


def test_a_server_that_went_away_is_found_again(server, loop, open_log):
    log = open_log(remote_to(server))
    log._retry_s = 0.01
    first, _ = server.accept()
    turn(loop, lambda: log._connected)
    first.close()
    turn(loop, lambda: not log._connected)
    for _ in range(3000):  # nobody listens: memory stays bounded, the container goes on
        log.write("stdout", [b"y" * 1000 + b"\n"])
    assert not log.full and log.dropped > 0
    server.settimeout(20)
    turn(loop, lambda: log._connected)
    second, _ = server.accept()
    assert second.recv(100).startswith(b"<30>")
    second.close()


def test_tls(server, loop, open_log, tmp_path):
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    got = []

    def serve():
        connection, _ = server.accept()
        with context.wrap_socket(connection, server_side=True) as secure:
            got.append(secure.recv(1000))

    thread = threading.Thread(target=serve)
    thread.start()
    tls = {"ca": str(certificate), "name": "localhost"}
    log = open_log(remote_to(server, network="tcp+tls", tls=tls))
    log.write("stdout", [b"secret\n"])
    turn(loop, lambda: bool(got))
    log.close()
    thread.join()
    assert got[0].endswith(b"secret\n")


def _certificate(folder):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    )
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return certificate, key
