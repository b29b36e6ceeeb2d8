"""Connections: one thread for all that wait, a thread of its own for what has to wait for more than its client."""

import errno
import os
import random
import socket
import threading
import time
from contextlib import suppress

import pytest

from corten.registry.server import clients, connection
from registry_client import sha256

DATA = random.Random(7).randbytes(9 << 20)  # more than one turn, and than any socket's buffer
DIGEST = sha256(DATA)
SMALL = b"small"


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    """For clients whose time is over."""
    monkeypatch.setattr(clients, "_SWEEP_S", 0.1)


@pytest.fixture
def connect(registry):
    """Connections to the registry, closed in the end."""
    opened = []

    def new():
        sock = socket.create_connection(("127.0.0.1", registry.port), timeout=20)
        opened.append(sock)
        return Peer(sock)

    yield new
    for sock in opened:
        sock.close()


class Peer:
    def __init__(self, sock):
        self.sock = sock
        self.reader = sock.makefile("rb")

    def ask(self, method, path, body=b"", **headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in headers.items())]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def answer(self):
        """(status, body)"""
        status = int(self.reader.readline().split()[1])
        length = 0
        while (line := self.reader.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split()[1])
        return status, self.reader.read(length)


def no_threads(monkeypatch):
    def no_room(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_room)


def no_more_watches(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_large_blob_comes_whole(registry):
    registry.push_blob("a", DATA)
    assert registry("GET", f"/v2/a/blobs/{DIGEST}")[2] == DATA
    assert registry("GET", f"/v2/a/blobs/{DIGEST}", None, {"Range": "bytes=5-9000000"})[2] == DATA[5:9000001]


def test_an_empty_blob_is_not_waited_for(registry, monkeypatch):
    """The kernel keeps a head with MSG_MORE for 200 ms."""
    registry.push_blob("a", b"")
    seen, send = [], connection.Connection._send_bytes

    def noted(self, data, flags=0):
        seen.append(flags)
        return send(self, data, flags)

    monkeypatch.setattr(connection.Connection, "_send_bytes", noted)
    assert registry("GET", f"/v2/a/blobs/{sha256(b'')}")[::2] == (200, b"")
    assert seen == [0]


def test_proxies_ask_with_the_whole_address(registry, connect):
    registry.push_blob("a", SMALL)
    peer = connect()
    peer.ask("GET", f"http://registry.example/v2/a/blobs/{sha256(SMALL)}")
    assert peer.answer() == (200, SMALL)


def test_a_blob_that_is_here_needs_no_thread(registry, connect, monkeypatch):
    registry.push_blob("a", SMALL)
    peer = connect()
    peer.ask("GET", f"/v2/a/blobs/{sha256(SMALL)}")
    assert peer.answer() == (200, SMALL)
    no_threads(monkeypatch)
    peer.ask("GET", f"/v2/a/blobs/{sha256(SMALL)}")
    assert peer.answer() == (200, SMALL)
    peer.ask("GET", f"/v2/a/blobs/{DIGEST}")
    assert peer.answer()[0] == 404
    peer.ask("GET", "/v2/")
    assert peer.reader.read() == b""  # there is no room for it: the client has to come again


def test_who_cannot_be_waited_for_has_to_come_again(registry, connect, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(clients.Loop, "watch", no_more_watches)
        assert connect().reader.read() == b""
    while registry.registry._server.connections:
        time.sleep(0.02)
    assert registry("GET", "/v2/")[0] == 200


def test_requests_in_a_row_are_answered_in_order(registry, connect):
    """Some are answered in the loop and some in a thread; none overtakes another."""
    registry.push_image("a", "v1", SMALL)
    peer = connect()
    blob, tag = f"/v2/a/blobs/{sha256(SMALL)}", "/v2/a/manifests/v1"
    for path in (blob, tag, blob, blob, "/v2/", tag, blob):
        peer.ask("GET", path)
    found = [peer.answer()[1] for _ in range(7)]
    assert [found[n] for n in (0, 2, 3, 6)] == [SMALL] * 4
    assert found[4] == b"{}"
    assert found[1] == found[5] == registry("GET", tag)[2]


def test_a_head_in_pieces_and_a_body_that_waits_to_be_asked_for(registry, connect):
    peer = connect()
    for piece in (b"POST /v2/a/blobs/uploads/?dig", f"est={DIGEST} HTTP/1.1\r\nHost: x\r\n".encode()):
        peer.sock.sendall(piece)
    peer.sock.sendall(f"Expect: 100-continue\r\nContent-Length: {len(DATA)}\r\n\r\n".encode())
    assert peer.answer()[0] == 100
    peer.sock.sendall(DATA)
    assert peer.answer()[0] == 201
    peer.ask("GET", f"/v2/a/blobs/{DIGEST}")
    assert peer.answer() == (200, DATA)


def test_empty_lines_before_a_request_are_skipped(registry, connect):
    peer = connect()
    for _ in range(2):
        peer.sock.sendall(b"\r\n")
        peer.sock.sendall(b"\r\n\r\n")
        peer.ask("GET", "/v2/")
        assert peer.answer() == (200, b"{}")
    peer.sock.sendall(b"\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [peer.answer(), peer.answer()] == [(200, b"{}")] * 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "GET"])
@pytest.mark.parametrize("chunks", [b"5\r\nhellooo", b"zz\r\n", b"5\r\nhello\r\n-1\r\n"])
def test_a_malformed_chunk_is_refused(registry, connect, method, chunks):
    path = registry.start_upload("a") + f"?digest={DIGEST}"
    paths = {"POST": f"/v2/a/blobs/uploads/?digest={DIGEST}", "PUT": "/v2/a/manifests/v1", "GET": "/v2/"}
    peer = connect()
    peer.ask(method, paths.get(method, path), chunks, **{"Transfer-Encoding": "chunked"})
    status, said = peer.answer()
    # A read has its answer without its body, but nothing can follow that.
    assert (status, said) == (200, b"{}") if method == "GET" else (status == 400 and b"chunk" in said)
    assert peer.reader.read() == b""


def test_what_is_deleted_is_gone_for_those_who_had_it(new_registry, connect):
    registry = new_registry("other", gc_grace=0.0)
    registry.push_blob("a", DATA)
    sock = socket.create_connection(("127.0.0.1", registry.port), timeout=20)
    peer = Peer(sock)
    peer.ask("GET", f"/v2/a/blobs/{DIGEST}")
    start = peer.reader.peek(1)
    assert start.startswith(b"HTTP/1.1 200")
    assert registry("DELETE", f"/v2/a/blobs/{DIGEST}")[0] == 202
    assert registry.registry._store.collect()["blobs"] == 1
    assert peer.answer() == (200, DATA)  # what was begun is sent to its end
    peer.ask("GET", f"/v2/a/blobs/{DIGEST}")
    assert peer.answer()[0] == 404
    sock.close()


@pytest.fixture
def hasty(registry, monkeypatch):
    """A registry with blob DATA that soon loses its patience."""
    registry.push_blob("a", DATA)
    monkeypatch.setattr(connection, "TIMEOUT_S", 0.3)
    return registry


@pytest.mark.parametrize("asked", [b"", b"GET /v2/ HT"])
def test_clients_that_do_not_go_on_are_dropped(hasty, connect, asked):
    peer = connect()
    peer.sock.sendall(asked)
    assert peer.reader.read() == b""


def test_clients_that_do_not_read_are_dropped(hasty, connect):
    peer = connect()
    peer.ask("GET", f"/v2/a/blobs/{DIGEST}")
    received = len(peer.reader.peek(1))
    while hasty.registry._server.connections:
        time.sleep(0.02)
    with suppress(ConnectionResetError):
        received += len(peer.reader.read())
    assert received < len(DATA)


def test_stopping_ends_idle_clients_at_once_and_lets_others_finish(new_registry):
    registry = new_registry()
    registry.push_blob("a", DATA)
    idle = socket.create_connection(("127.0.0.1", registry.port), timeout=20)
    sock = socket.create_connection(("127.0.0.1", registry.port), timeout=20)
    peer = Peer(sock)
    peer.ask("GET", f"/v2/a/blobs/{DIGEST}")
    peer.reader.peek(1)
    closing = threading.Thread(target=registry.close)
    closing.start()
    assert idle.recv(1) == b""
    assert peer.answer() == (200, DATA)
    assert sock.recv(1) == b""
    idle.close()
    sock.close()
    closing.join()
