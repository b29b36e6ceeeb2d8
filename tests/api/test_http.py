# ruff: noqa: E501
"""HTTP itself: where requests begin and end, limits, what is refused."""

import json
import os
import socket
import threading

import pytest
from fakes import SAVED
from wire_client import Wire, eventually

from corten.api import limits
from corten.wire import head

PING = b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n"

SMUGGLING = {
    "both lengths": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, other order": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "two lengths": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
    "signed length": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    "hexadecimal length": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
    "huge length": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "unknown coding": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "coding after chunked": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "gzip, chunked": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "vertical tab in coding": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
    "folded header": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": b"POST /x HTTP/1.1\nHost: a\nContent-Length: 5\n\r\n\r\n",
    "bare line feed between": b"POST /x HTTP/1.1\r\nHost: a\nContent-Length: 5\r\n\r\nhello",
    "null in value": b"GET /x HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "space in target": b"GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown method": b"FETCH /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "binary": bytes(range(14, 256)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_ambiguous_requests_end_the_connection(wire, request_):
    wire.send(request_ + PING)
    status, headers, body = wire.answer()
    assert status == 400
    assert headers["connection"] == "close"
    assert "message" in json.loads(body)
    assert wire.rest() == b""  # nothing after it was taken for a request


def chunked(body: bytes) -> bytes:
    return b"POST /images/load HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


@pytest.mark.parametrize(
    "body",
    [
        b"g\r\n\r\n",
        b"-1\r\n",
        b"\r\n",
        b"5\nhello",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"1" * 20 + b"\r\n",
        b";" * 300,
        b"+5\r\n",
    ],
)
def test_malformed_chunks(wire, body):
    wire.send(chunked(body) + PING)
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (400, "close")
    assert wire.rest() == b""


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_chunked_bodies_in_any_pieces(wire, fake, step):
    data = chunked(b"5;name=value\r\nhello\r\n00a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n") + PING
    for at in range(0, len(data), step):
        wire.send(data[at : at + step])
    status, _, body = wire.answer()
    assert (status, json.loads(body)) == (200, {"stream": "Loaded 15 bytes\n"})
    assert wire.answer()[2] == b"OK"


def test_pipelined_requests_are_answered_in_order(wire):
    wire.send(PING * 20 + b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n" + b"\r\n" + PING * 20)
    answers = [wire.answer()[2] for _ in range(41)]
    assert answers[:20] == [b"OK"] * 20 == answers[21:]
    assert b"ApiVersion" in answers[20]


@pytest.mark.parametrize("request_", [PING, b"GET /nosuch HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_who_does_not_read_answers_is_not_read_from(wire, request_):
    """Or a client could fill the engine's memory with them."""
    sent, many = 0, request_ * 1000
    wire.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        while sent < 64 << 20:
            sent += wire.sock.send(many[sent % len(many) :])
    assert sent < 4 << 20
    wire.sock.settimeout(20)
    missing = -sent % len(many)
    reader = threading.Thread(target=lambda: wire.send(many[len(many) - missing :]))
    reader.start()
    for _ in range((sent + missing) // len(request_)):
        assert wire.answer()[0] in (200, 404)
    reader.join()


def test_a_thousand_pipelined_slow_requests_do_not_pile_up(wire):
    wire.sock.setblocking(False)
    data = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n" * 5000
    sent, received, rest = 0, 0, b""
    while sent < len(data) or received < 5000:
        try:
            sent += wire.sock.send(data[sent : sent + 65536])
        except BlockingIOError:
            pass
        try:
            *heads, rest = (rest + wire.sock.recv(1 << 20)).split(b"HTTP/1.1 200")
            received += len(heads)
        except BlockingIOError:
            pass


def test_half_closing_after_the_request_is_not_going_away(fake):
    with fake.connect() as sock:
        sock.sendall(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        sock.shutdown(socket.SHUT_WR)
        assert Wire(sock).rest().count(b"HTTP/1.1 200") == 3


def test_http_1_0_closes_and_does_not_chunk(fake):
    with fake.connect() as sock:
        sock.sendall(b"GET /images/busybox/get HTTP/1.0\r\n\r\n")
        head, _, body = Wire(sock).rest().partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert b"Connection: close" in head
        assert body == SAVED


def test_connection_close_is_honoured(fake):
    with fake.connect() as sock:
        wire = Wire(sock)
        status, headers, _ = wire.request("GET", "/_ping", None, "Connection: close")
        assert (status, headers["connection"]) == (200, "close")
        assert wire.rest() == b""


def test_continue_only_when_the_body_is_wanted(fake):
    with fake.connect() as sock:
        wire = Wire(sock)
        wire.send(
            b"POST /images/load HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert wire.head()[0] == 100
        wire.send(b"hello")
        assert wire.answer()[0] == 200
        wire.send(
            b"POST /swarm/init HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (501, "close")


def test_limits_of_the_head(fake):
    for request, expected in [
        (b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * limits.MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * (limits.MAX_HEAD + 1), 431),
        (
            b"GET /_ping HTTP/1.1\r\n"
            + b"".join(b"X%d: x\r\n" % n for n in range(head.MAX_HEADERS + 1))
            + b"\r\n",
            431,
        ),
        (b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 200),
    ]:
        with fake.connect() as sock:
            wire = Wire(sock)
            wire.send(request)
            assert wire.answer()[0] == expected


def test_json_bodies_are_bounded(fake):
    body = b'{"Image": "' + b"x" * limits.MAX_JSON + b'"}'
    with fake.connect() as sock:
        status, _, _ = Wire(sock).request("POST", "/containers/create", body)
        assert status == 413
    with fake.connect() as sock:  # not known in advance
        wire = Wire(sock)
        wire.send(b"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(limits.MAX_JSON // 65536 + 1):
            wire.send(chunk)
        assert wire.answer()[0] == 413


def test_small_unread_bodies_are_skipped_and_large_ones_end_the_connection(fake):
    with fake.connect() as sock:
        wire = Wire(sock)
        assert wire.request("POST", "/swarm/init", b"x" * 100_000)[0] == 501
        assert wire.request("GET", "/_ping")[0] == 200
        wire.send(b"POST /swarm/init HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (501, "close")
        assert wire.rest() == b""


def test_slow_heads_expire_and_idle_connections_close(fake):
    with fake.connect() as slow, fake.connect() as idle, fake.connect() as busy:
        slow.sendall(b"GET /_pi")
        busy_wire = Wire(busy)
        busy_wire.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert busy_wire.head()[0] == 200
        eventually(lambda: len(fake.server.connections) == 3)

        def years_pass() -> None:
            for _ in range(limits.IDLE_S // 5 + 1):
                fake.server._clock.cancel()
                fake.server._advance()

        fake.call(years_pass)
        assert Wire(slow).answer()[0] == 408
        assert idle.recv(1) == b""
        fake.call(fake.system.emit, "start")
        assert b'"start"' in busy_wire.chunk()


def test_bodies_wait_for_their_reader_in_bounded_memory(fake):
    fake.call(fake.images.gate.clear)
    with fake.connect() as sock:
        sock.sendall(b"POST /images/load HTTP/1.1\r\nHost: a\r\nContent-Length: 64000000\r\n\r\n")
        sock.setblocking(False)
        sent = 0
        data = b"x" * 65536
        eventually_full = 0
        while eventually_full < 50:
            try:
                sent += sock.send(data[: min(65536, 64_000_000 - sent)])
                eventually_full = 0
            except BlockingIOError:
                eventually_full += 1
                fake.call(lambda: None)
        assert sent < 4_000_000
        fake.call(fake.images.gate.set)
        sock.setblocking(True)
        while sent < 64_000_000:
            sent += sock.send(data[: min(65536, 64_000_000 - sent)])
        assert Wire(sock).answer()[0] == 200
    assert fake.images.loaded == [64_000_000]


def test_going_away_in_the_body_is_noticed(fake):
    with fake.connect() as sock:
        sock.sendall(b"POST /images/load HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello")
        eventually(lambda: fake.server._tasks)
    eventually(lambda: not fake.server._tasks and not fake.server.connections)
    assert fake.images.loaded == []


def test_the_socket_is_for_those_it_was_made_for(fake, tmp_path):
    assert os.stat(fake.socket_path).st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="another engine is listening"):
        fake.call(lambda: fake.server.listen_unix(fake.socket_path))
    stale = str(tmp_path / "stale.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(stale)
    fake.call(lambda: fake.server.listen_unix(stale))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(stale)
        assert Wire(sock).request("GET", "/_ping")[0] == 200
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(FileExistsError):
        fake.call(lambda: fake.server.listen_unix(str(file)))
    assert file.read_text() == "precious"
