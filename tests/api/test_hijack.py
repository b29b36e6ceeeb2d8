# ruff: noqa: E501
"""Raw streams: attach and exec."""

import json
import socket
import time

import pytest
from fakes import FakeBuildKit
from wire_client import Wire, eventually

from corten.http2.settings import CLIENT_GREETING, SERVER_GREETING
from corten.wire import stdcopy

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


def make(fake, **config) -> str:
    with fake.connect() as sock:
        body = Wire(sock).request("POST", "/containers/create", {"Image": "busybox"} | config)[2]
        return json.loads(body)["Id"]


def post(fake, path) -> int:
    with fake.connect() as sock:
        return Wire(sock).request("POST", path)[0]


def attach(wire, container, query="stream=1&stdin=1&stdout=1&stderr=1", upgrade=True, version="", early=b""):
    lines = [f"POST {version}/containers/{container}/attach?{query} HTTP/1.1", "Host: a"]
    if upgrade:
        lines += ["Connection: Upgrade", "Upgrade: tcp"]
    wire.send("\r\n".join([*lines, "", ""]).encode() + early)
    return wire.head()


def frames(data: bytes) -> list[tuple[int, bytes]]:
    decoder = stdcopy.Decoder()
    found = list(decoder.feed(data))
    assert decoder.pending == 0
    return found


@pytest.fixture
def cat(fake):
    return make(fake, OpenStdin=True, StdinOnce=True)


def test_pipe_through_a_container_with_half_close(fake, cat, wire):
    status, headers = attach(wire, cat)
    assert status == 101
    assert headers["upgrade"] == "tcp"
    assert headers["connection"] == "Upgrade"
    assert headers["content-type"] == MULTIPLEXED
    assert post(fake, f"/containers/{cat}/start") == 204
    wire.send(b"hello")
    wire.sock.shutdown(socket.SHUT_WR)
    found = frames(wire.rest())
    assert b"".join(data for stream, data in found if stream == 1) == b"hello"
    assert found[-1] == (2, b"eof\n")
    eventually(lambda: fake.containers.closed == 1)


@pytest.mark.parametrize("upgrade", [True, False])
def test_early_bytes_behind_the_head_are_stdin(fake, cat, wire, upgrade):
    """Even when they look like a request, and even when the client did not ask for an upgrade."""
    fake.containers.by_id[cat].status = "running"
    early = b"GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n"
    status, headers = attach(wire, cat, upgrade=upgrade, early=early)
    assert status == (101 if upgrade else 200)
    assert "content-length" not in headers
    assert "transfer-encoding" not in headers
    wire.sock.shutdown(socket.SHUT_WR)
    found = frames(wire.rest())
    assert b"".join(data for stream, data in found if stream == 1) == early


def test_a_terminal_is_raw(fake, wire):
    container = make(fake, OpenStdin=True, Tty=True)
    fake.containers.by_id[container].status = "running"
    _, headers = attach(wire, container)
    assert headers["content-type"] == RAW
    wire.send(b"x")
    assert wire.exactly(1) == b"x"


def test_older_clients_know_no_multiplexed_type(cat, wire):
    assert attach(wire, cat, version="/v1.41")[1]["content-type"] == RAW


def test_attach_to_nothing_is_an_ordinary_error(wire):
    wire.send(
        b"POST /containers/none/attach?stream=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    assert wire.answer()[0] == 404
    assert wire.request("GET", "/_ping")[0] == 200


def test_history_comes_first(fake, wire):
    container = make(fake)
    fake.containers.by_id[container].log = [(1, b"old\n"), (2, b"older\n")]
    attach(wire, container, "stream=1&stdout=1&stderr=1&logs=1")
    post(fake, f"/containers/{container}/start")
    assert frames(wire.rest()) == [(1, b"old\n"), (2, b"older\n"), (1, b"hello\n")]


def test_detach_keys(fake, wire):
    container = make(fake, OpenStdin=True, Tty=True)
    fake.containers.by_id[container].status = "running"
    attach(wire, container, "stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,b")
    wire.send(b"typed\x01")
    assert wire.exactly(5) == b"typed"
    wire.send(b"x\x01")
    assert wire.exactly(2) == b"\x01x"
    wire.send(b"b")
    assert wire.rest() == b""
    eventually(lambda: fake.containers.closed == 1)
    assert fake.containers.detached == 1
    assert fake.containers.by_id[container].status == "running"


def test_a_client_that_half_closed_and_then_died_is_noticed(fake, cat):
    fake.containers.by_id[cat].request.open_stdin = False
    with fake.connect() as sock:
        attach(Wire(sock), cat, "stream=1&stdout=1")
        sock.shutdown(socket.SHUT_WR)
        fake.call(lambda: None)
        assert fake.containers.closed == 0
    eventually(lambda: fake.containers.closed == 1 and not fake.server.streams)


def test_a_thousand_attachments_leak_nothing(fake, cat):
    fake.containers.by_id[cat].request.open_stdin = False
    for n in range(1000):
        with fake.connect() as sock:
            attach(Wire(sock), cat, "stream=1&stdout=1")
            if n % 2:
                sock.shutdown(socket.SHUT_WR)
    eventually(lambda: fake.containers.closed == 1000 and not fake.server.streams)
    for peer in fake.containers.by_id[cat].attached:
        peer.settimeout(20)
        assert peer.recv(1) == b""  # nobody holds its other end
    eventually(lambda: open_sockets(fake.socket_path) == 1)  # the one that listens


def open_sockets(path: str) -> int:
    """How many sockets a server has that was bound there: the listening one, and its ends of connections."""
    with open("/proc/net/unix") as table:
        return sum(line.endswith(f" {path}\n") for line in table)


def test_a_slow_client_slows_the_process_not_the_engine(fake, wire):
    container = make(fake)
    attach(wire, container, "stream=1&stdout=1")
    one = fake.containers.by_id[container]
    peer = one.attached[0]
    peer.setblocking(False)
    sent = 0
    stuck = 0
    while stuck < 50:
        try:
            sent += peer.send(stdcopy.frame(1, b"x" * 32768))
            stuck = 0
        except BlockingIOError:
            stuck += 1
            fake.call(lambda: None)
    assert sent < 4_000_000
    got = len(wire.buffer)
    while got < sent:
        got += len(wire.sock.recv(1 << 20))
    assert got == sent


def test_a_process_that_does_not_read_slows_the_client(fake, wire):
    container = make(fake, OpenStdin=True, StdinOnce=True, Image="sleep")
    attach(wire, container)
    inside = fake.containers.by_id[container].stdin[0]
    wire.sock.setblocking(False)
    sent = 0
    stuck = 0
    while stuck < 50:
        try:
            sent += wire.sock.send(b"y" * 65536)
            stuck = 0
        except BlockingIOError:
            stuck += 1
            fake.call(lambda: None)
    assert sent < 4_000_000
    wire.sock.shutdown(socket.SHUT_WR)
    got = 0
    while data := inside.recv(1 << 20):
        got += len(data)
    assert got == sent


def ask_for_exec(wire, fake, *command, upgrade=True, **config) -> None:
    container = make(fake)
    body = wire.request("POST", f"/containers/{container}/exec", {"Cmd": list(command)})[2]
    body, exec_id = json.dumps(config).encode(), json.loads(body)["Id"]
    lines = [f"POST /exec/{exec_id}/start HTTP/1.1", "Host: a", "Content-Type: application/json"]
    if upgrade:
        lines += ["Connection: Upgrade", "Upgrade: tcp"]
    wire.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)


def start_exec(wire, fake, *command, **options) -> tuple[int, dict[str, str]]:
    ask_for_exec(wire, fake, *command, **options)
    return wire.head()


def test_nothing_follows_the_head_before_a_slow_client_has_read_it(fake, wire):
    ask_for_exec(wire, fake, "echo", "hi")
    time.sleep(0.3)  # the client's own slowness: docker-py on a busy machine
    assert wire.head()[0] == 101
    assert wire.buffer == b""
    assert sorted(frames(wire.rest())) == [(1, b"hi"), (2, b"err")]


def test_exec_frames_both_streams(fake, wire):
    status, headers = start_exec(wire, fake, "echo", "hi", Tty=False)
    assert (status, headers["content-type"]) == (101, MULTIPLEXED)
    assert sorted(frames(wire.rest())) == [(1, b"hi"), (2, b"err")]


def test_exec_that_cannot_start_says_so_on_the_stream(fake, wire):
    assert start_exec(wire, fake, "nosuch")[0] == 101
    [(stream, text)] = frames(wire.rest())
    assert stream == 1
    assert text == b'OCI runtime exec failed: "nosuch": executable file not found in $PATH\r\n'


def test_exec_closes_stdin_when_the_client_does(fake, wire):
    start_exec(wire, fake, "cat")
    wire.send(b"abc")
    wire.sock.shutdown(socket.SHUT_WR)
    assert b"".join(data for _, data in frames(wire.rest())) == b"abc"


def test_exec_detached_and_unknown(fake, wire):
    assert wire.request("POST", "/exec/none/start", {"Detach": True})[0] == 404
    container = make(fake)
    body = wire.request("POST", f"/containers/{container}/exec", {"Cmd": ["echo", "x"]})[2]
    exec_id = json.loads(body)["Id"]
    assert wire.request("POST", f"/exec/{exec_id}/start", {"Detach": True})[0::2] == (200, b"")
    assert wire.request("GET", f"/exec/{exec_id}/json")[0] == 200
    assert wire.request("POST", f"/containers/{container}/exec", {"Cmd": []})[0] == 400
    assert wire.request("POST", f"/exec/{exec_id}/resize?h=24&w=80")[0] == 200
    assert wire.request("POST", f"/exec/{exec_id}/resize?h=x&w=80")[0] == 400
    assert wire.request("POST", f"/exec/{exec_id}/resize?h=-1&w=70000")[0] == 400


def test_what_was_typed_arrives_though_the_client_is_gone(fake):
    container = make(fake, OpenStdin=True, StdinOnce=True, Image="sleep")
    with fake.connect() as sock:
        attach(Wire(sock), container)
        inside = fake.containers.by_id[container].stdin[0]
        sock.sendall(b"z" * 50_000)
    eventually(lambda: not fake.server.streams)
    got = 0
    while data := inside.recv(4096):
        got += len(data)
    assert got == 50_000
    eventually(lambda: fake.containers.closed == 1)


def test_the_exit_is_known_before_the_stream_ends(fake, wire):
    fake.settle.clear()
    start_exec(wire, fake, "echo", "hi")
    assert sorted(frames(wire.exactly(21))) == [(1, b"hi"), (2, b"err")]
    wire.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        wire.sock.recv(1)
    fake.call(fake.settle.set)
    wire.sock.settimeout(20)
    assert wire.rest() == b""


def test_sessions_are_upgraded_to_h2c_and_begun_by_us(wire):
    wire.send(
        b"POST /session HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"X-Docker-Expose-Session-Uuid: id1\r\nX-Docker-Expose-Session-Sharedkey: key\r\n"
        b"X-Docker-Expose-Session-Grpc-Method: /a.B/C\r\nX-Docker-Expose-Session-Grpc-Method: /a.B/D\r\n\r\n"
    )
    status, headers = wire.head()
    assert (status, headers["upgrade"]) == (101, "h2c")
    assert wire.rest() == CLIENT_GREETING + b"id1 key /a.B/C /a.B/D"


def test_grpc_is_greeted_with_the_upgrade_or_without_being_asked(fake):
    for begin, status in (
        (b"POST /grpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 101),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
    ):
        with fake.connect() as sock:
            wire = Wire(sock)
            wire.send(begin)
            assert status is None or wire.head()[0] == status
            assert wire.rest() == SERVER_GREETING + b"grpc"


def test_an_upgrade_that_fails_in_the_end_is_dropped_and_not_answered_once_more(wire, monkeypatch):
    def serve(self, stream):
        raise OSError("no space left on device")

    monkeypatch.setattr(FakeBuildKit, "serve", serve)
    wire.send(b"POST /grpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert wire.head()[0] == 101
    assert wire.rest() == SERVER_GREETING


@pytest.mark.parametrize(
    ("path", "upgrade", "message"),
    [
        ("/grpc", "", "no upgrade proto in request"),
        ("/grpc", "tcp", "protocol tcp not supported"),
        ("/session", "", "no upgrade proto in request"),
        ("/session", "h2c", "no session id in the request"),
    ],
)
def test_what_is_no_h2c_is_refused(wire, path, upgrade, message):
    headers = ["Connection: Upgrade", f"Upgrade: {upgrade}"] if upgrade else []
    status, _, body = wire.request("POST", path, None, *headers)
    assert (status, json.loads(body)["message"]) == (400, message)
