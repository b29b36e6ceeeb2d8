# ruff: noqa: E501
"""Answers that take their time: wait, logs, events, progress, archives."""

import json
import socket
import threading

import pytest
from fakes import SAVED, serving
from wire_client import Wire, eventually

from corten.wire import stdcopy


@pytest.fixture
def container(wire) -> str:
    return json.loads(wire.request("POST", "/containers/create", {"Image": "busybox"})[2])["Id"]


def test_wait_sends_its_head_before_the_exit(fake, wire, container):
    with fake.connect() as sock:
        waiting = Wire(sock)
        waiting.send(
            f"POST /containers/{container}/wait?condition=next-exit HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        )
        assert waiting.head()[0] == 200
        assert wire.request("POST", f"/containers/{container}/start")[0] == 204
        assert b"".join(waiting.chunks()) == b'{"StatusCode":7}\n'
    assert wire.request("POST", f"/containers/{container}/wait")[2] == b'{"StatusCode":7}\n'


@pytest.mark.parametrize("half", [False, True])
def test_going_away_ends_the_waiting(fake, wire, container, half):
    with fake.connect() as sock:
        waiting = Wire(sock)
        waiting.send(f"POST /containers/{container}/wait HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        waiting.head()
        if half:
            sock.shutdown(socket.SHUT_WR)
        eventually(lambda: fake.containers.waiting == 1)
        fake.call(lambda: None)
        assert fake.containers.waiting == 1
    eventually(lambda: fake.containers.waiting == 0)


def test_logs_in_frames_and_raw(fake, wire, container):
    one = fake.containers.by_id[container]
    one.log = [(1, b"out\n"), (2, b"err\n")]
    status, headers, body = wire.request("GET", f"/containers/{container}/logs?stdout=1&stderr=1")
    assert (status, headers["content-type"]) == (200, "application/vnd.docker.multiplexed-stream")
    assert list(stdcopy.Decoder().feed(body)) == one.log
    one.request.tty = True
    status, headers, body = wire.request("GET", f"/containers/{container}/logs?stdout=1&tail=all&since=1.5")
    assert (headers["content-type"], body) == ("application/vnd.docker.raw-stream", b"out\nerr\n")
    assert wire.request("GET", "/containers/none/logs?stdout=1")[0] == 404


def test_following_logs_ends_with_the_client(fake, container):
    with fake.connect() as sock:
        follower = Wire(sock)
        follower.send(
            f"GET /containers/{container}/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        )
        assert follower.head()[0] == 200
        eventually(lambda: fake.containers.log_readers == 1)
    eventually(lambda: fake.containers.log_readers == 0)


def test_events(fake):
    with fake.connect() as sock:
        reader = Wire(sock)
        reader.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert reader.head()[0] == 200
        for action in ("create", "start"):
            fake.call(fake.system.emit, action)
            line = reader.chunk()
            assert line.endswith(b"\n")
            assert json.loads(line)["Action"] == action
    eventually(lambda: not fake.system.subscribers)


def lines(body: bytes) -> list[dict[str, object]]:
    assert body.endswith(b"\r\n")
    return [json.loads(line) for line in body.split(b"\r\n")[:-1]]


def test_pull_reads_reference_and_credentials(wire):
    auth = "X-Registry-Auth: eyJ1c2VybmFtZSI6ICJtZSJ9"
    for query, expected in [
        ("fromImage=busybox&tag=1", "busybox:1 all=False user=me"),
        ("fromImage=busybox", "busybox all=True user=me"),
        ("fromImage=r%3A5000/busybox", "r:5000/busybox all=True user=me"),
        ("fromImage=busybox&tag=sha256:0", "busybox@sha256:0 all=False user=me"),
        ("fromImage=r:5000/busybox:1&tag=sha256:0", "r:5000/busybox@sha256:0 all=False user=me"),
    ]:
        status, headers, body = wire.request("POST", f"/images/create?{query}", None, auth)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert lines(body) == [{"status": "Pulling from " + expected}]
    assert wire.request("POST", "/images/create?fromImage=x", None, "X-Registry-Auth: ?")[0] == 400
    assert wire.request("POST", "/images/create")[0] == 400


def test_errors_before_and_in_a_stream(wire):
    status, _, body = wire.request("POST", "/images/create?fromImage=denied")
    assert (status, json.loads(body)["message"]) == (404, "pull access denied for denied")
    status, _, body = wire.request("POST", "/images/create?fromImage=broken")
    assert status == 200
    message = "connection <reset>"
    assert lines(body)[-1] == {"errorDetail": {"message": message}, "error": message}
    assert b"\\u003creset\\u003e" in body


def test_import_and_load(wire):
    status, _, body = wire.request(
        "POST", "/images/create?fromSrc=-&repo=a&tag=b&changes=CMD+x&changes=ENV+y", b"tar"
    )
    assert (status, lines(body)) == (200, [{"status": "a:b 3 ['CMD x', 'ENV y']"}])
    assert lines(wire.request("POST", "/images/create?fromSrc=http://x/")[2])[0]["status"].startswith(
        "http://x/ "
    )
    assert lines(wire.request("POST", "/images/load?quiet=1", b"12345")[2]) == [
        {"stream": "Loaded 5 bytes\n"}
    ]


def test_build(wire):
    status, _, body = wire.request("POST", "/build?t=x&buildargs=%7B%22A%22%3Anull%7D", b"tar")
    assert status == 200
    assert b"\\u003e 0\\n" in body
    assert lines(body)[-1] == {"aux": {"ID": "sha256:0"}}
    failed = lines(wire.request("POST", "/build?target=fail", b"tar")[2])[-1]
    assert failed["errorDetail"] == {"code": 7, "message": failed["error"]}
    assert wire.request("POST", "/build?version=3", b"")[0] == 400
    assert wire.request("POST", "/build/cancel", b"")[0] == 400
    assert wire.request("POST", "/build/cancel?id=unknown", b"")[0] == 200
    assert wire.request("POST", "/build?buildargs=nonsense", b"")[0] == 400


def test_save(wire):
    status, headers, body = wire.request("GET", "/images/get?names=busybox&names=busybox:1")
    assert (status, headers["content-type"]) == (200, "application/x-tar")
    assert body == SAVED
    assert wire.request("GET", "/images/none/get")[0] == 404


def test_files_are_sent_in_chunks_that_anybody_can_hold(wire):
    wire.send(b"GET /images/busybox/get HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.head()
    assert max(map(len, wire.chunks())) <= 1 << 20


@pytest.mark.parametrize("stalls", [0, 0.3])
def test_save_over_tcp_to_a_client_that_takes_its_time(fake, stalls):
    (port,) = fake.call(lambda: fake.server.listen_tcp("127.0.0.1", 0))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        slow = Wire(sock)
        slow.send(b"GET /images/busybox/get HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow.head()
        body = slow.chunk()
        threading.Event().wait(stalls)  # longer than a thread waits for us
        assert body + b"".join(slow.chunks()) == SAVED
        assert slow.request("GET", "/_ping")[2] == b"OK"


@pytest.mark.parametrize("half", [False, True])
def test_saving_ends_with_the_client(fake, half):
    with fake.connect() as sock:
        client = Wire(sock)
        client.send(b"GET /images/busybox/get HTTP/1.1\r\nHost: a\r\n\r\n")
        if half:
            sock.shutdown(socket.SHUT_WR)
        client.head()
        eventually(lambda: fake.images.saving == 1)
    eventually(lambda: fake.images.saving == 0)


def test_an_orderly_stop_ends_a_save(tmp_path):
    with serving(str(tmp_path / "api.sock")) as fake:
        sock = fake.connect()
        client = Wire(sock)
        client.send(b"GET /images/busybox/get HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        client.chunk()
    assert not fake.images.saving
    with sock, pytest.raises(EOFError):
        list(client.chunks())


def test_a_file_that_is_shorter_than_it_was_breaks_the_answer_off(fake, wire):
    wire.send(b"GET /images/busybox-torn/get HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.head()[0] == 200
    with pytest.raises((EOFError, ConnectionResetError)):
        list(wire.chunks())
    assert not fake.images.saving


def test_disk_usage_by_kind(wire):
    assert json.loads(wire.request("GET", "/system/df?type=container")[2])["Images"] is None
    assert json.loads(wire.request("GET", "/system/df")[2])["Images"] == []
    assert json.loads(wire.request("GET", "/v1.41/system/df?type=container")[2])["BuilderSize"] == 0


def test_an_orderly_stop_ends_streams(tmp_path):
    with serving(str(tmp_path / "api.sock")) as fake:
        sock = fake.connect()
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert Wire(sock).head()[0] == 200
        idle = fake.connect()
        assert Wire(idle).request("GET", "/_ping")[0] == 200
    assert idle.recv(1) == b""
    assert not (tmp_path / "api.sock").exists()
    sock.close()
    idle.close()
    assert not fake.system.subscribers
