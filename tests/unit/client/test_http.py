"""The client on a wire that we hold the other end of."""

import contextlib
import socket
import threading

import pytest

from corten.client import address, jsontext, query
from corten.client.engine import Engine
from corten.client.errors import APIError, ClientError, ConnectionFailed, NoEngine
from corten.client.stdcopy import Demultiplexer, FrameError


@pytest.fixture
def wire(tmp_path):
    """Serve scripted answers: each connection gets the next list, each request on it the next answer."""
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    requests, scripts, open_connections = [], [], []

    def serve():
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            open_connections.append(conn)
            for answer in scripts.pop(0):
                head = b""
                while b"\r\n\r\n" not in head:
                    data = conn.recv(65536)
                    if not data:
                        break
                    head += data
                requests.append(head)
                for piece in answer if isinstance(answer, list) else [answer]:
                    conn.sendall(piece)
            with contextlib.suppress(OSError):  # the test may be over and have closed it
                conn.shutdown(socket.SHUT_WR)

    threading.Thread(target=serve, daemon=True).start()
    engine = Engine(address.parse(f"unix://{path}"))
    yield engine, scripts, requests
    engine.close()
    listener.shutdown(socket.SHUT_RDWR)  # ends accept(), which would go on with the descriptor's next owner
    listener.close()
    for conn in open_connections:
        conn.close()


def test_keep_alive_and_content_length(wire):
    engine, scripts, requests = wire
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'
    scripts.append([answer, answer])
    assert engine.get("/x") == {"a": 1}
    assert engine.get("/y", all=True, filters=None, t=["a b", "c"]) == {"a": 1}
    assert requests[1].startswith(b"GET /v1.51/y?all=1&t=a%20b&t=c HTTP/1.1\r\n")


def test_chunks_in_awkward_pieces(wire):
    engine, scripts, _ = wire
    text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    text += b"4;x=y\r\nabcd\r\n2\r\nef\r\n0\r\nTrailer: 1\r\n\r\n"
    scripts.append([[text[i : i + 3] for i in range(0, len(text), 3)]])
    assert engine.call("GET", "/x").read() == b"abcdef"


def test_body_until_the_end_of_the_connection(wire):
    engine, scripts, _ = wire
    scripts.append([b"HTTP/1.1 200 OK\r\n\r\nall of it"])
    assert engine.call("GET", "/x").read() == b"all of it"


def test_body_cut_short_is_an_error(wire):
    engine, scripts, _ = wire
    scripts.append([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
    response = engine.call("GET", "/x")
    with pytest.raises(ConnectionFailed, match="unexpected EOF"):
        response.read()


def test_engine_that_hangs_up(wire):
    engine, scripts, _ = wire
    scripts.append([b""])
    with pytest.raises(ConnectionFailed):
        engine.get("/x")


def test_errors_have_the_engines_words(wire):
    engine, scripts, _ = wire
    body = b'{"message":"No such container: x"}'
    scripts.append([b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)])
    with pytest.raises(APIError) as caught:
        engine.get("/x")
    assert caught.value.status == 404
    assert str(caught.value) == "Error response from daemon: No such container: x"


def test_idle_connection_that_was_closed_is_replaced(wire):
    engine, scripts, _ = wire
    scripts += [[b"HTTP/1.1 204 No Content\r\n\r\n"], [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7"]]
    assert engine.get("/x") is None
    assert engine.get("/y") == 7


def test_hijack_gives_what_came_with_the_head(wire):
    engine, scripts, requests = wire
    head = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"
    scripts.append([head + b"early"])
    stream = engine.hijack("/containers/x/attach", {"stream": 1})
    assert stream.multiplexed is True
    assert stream.recv() == b"early"
    assert stream.recv() == b""
    assert b"Upgrade: tcp\r\n" in requests[0]
    stream.close()


def test_nobody_there(tmp_path):
    engine = Engine(address.parse(f"unix://{tmp_path}/none"))
    with pytest.raises(NoEngine, match="Is the corten daemon running"):
        engine.get("/x")


def test_addresses(monkeypatch):
    assert address.find([], {"CORTEN_HOST": "a", "DOCKER_HOST": "b"}) == "a"
    assert address.find([], {"DOCKER_HOST": "b"}) == "b"
    assert address.find(["c"], {"DOCKER_HOST": "b"}) == "c"
    assert address.find([], {}) == "unix:///run/corten/corten.sock"
    where = address.parse("tcp://[::1]:99/base/")
    assert (where.host, where.port, where.base) == ("::1", 99, "/base")
    assert address.parse("tcp://h").port == 2375
    for text in ("foo", "tcp://h:x", "npipe://x"):
        with pytest.raises(ClientError):
            address.parse(text)


def test_query_encoding():
    assert query.quote("a/b:c d%é") == "a%2Fb%3Ac%20d%25%C3%A9"
    assert query.quote("a/b:c", b"/:") == "a/b:c"


@pytest.mark.parametrize("value", [None, True, [1, 2.5, {"a": 'q"\\\n\u2028é'}], {"x": []}, "", -0.5, 10**20])
def test_json_round_trip(value):
    assert jsontext.loads(jsontext.dumps(value)) == value
    assert jsontext.loads(" " + jsontext.dumps_indented(value) + "\n") == value


def test_bad_json():
    for text in ("", "{", "[1] x", "nul"):
        with pytest.raises(ValueError):  # noqa: PT011
            jsontext.loads(text)


def test_frames_in_any_pieces():
    wire_bytes = b"\1\0\0\0\0\0\0\5hello\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\3err"
    for size in (1, 2, 7, 100):
        frames = Demultiplexer()
        got = {1: b"", 2: b""}
        for at in range(0, len(wire_bytes), size):
            for stream, piece in frames.feed(wire_bytes[at : at + size]):
                got[stream] += bytes(piece)
        assert got == {1: b"hello", 2: b"err"}


def test_no_frames():
    with pytest.raises(FrameError):
        Demultiplexer().feed(b"hello world")
