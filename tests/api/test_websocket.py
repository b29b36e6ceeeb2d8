"""attach over a websocket."""

import base64
import os
import struct

import pytest
from test_hijack import make, post
from wire_client import Wire, eventually

from corten.wire.websocket import BINARY, CLOSE, PING, accept, unmasked

KEY = base64.b64encode(b"0123456789abcdef")


def connect(
    wire: Wire, container: str, query="stream=1&stdin=1&stdout=1&stderr=1", version="", *headers: str
):
    lines = [
        f"GET {version}/containers/{container}/attach/ws?{query} HTTP/1.1",
        *("Host: a", "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        f"Sec-WebSocket-Key: {KEY.decode()}",
        *headers,
    ]
    wire.send("\r\n".join([*lines, "", ""]).encode())
    return wire.head()


def send(wire: Wire, opcode: int, payload: bytes) -> None:
    mask = os.urandom(4)
    wire.send(struct.pack(">BB", 0x80 | opcode, 0x80 | len(payload)) + mask + unmasked(payload, mask))


def receive(wire: Wire) -> tuple[int, bytes]:
    first, size = wire.exactly(2)
    if size == 126:
        size = int.from_bytes(wire.exactly(2), "big")
    return first & 0x0F, wire.exactly(size)


@pytest.fixture
def cat(fake):
    return make(fake, OpenStdin=True, StdinOnce=True)


def test_echo_ping_and_the_end(fake, cat, wire):
    status, headers = connect(wire, cat)
    assert status == 101
    assert headers["upgrade"] == "websocket"
    assert headers["sec-websocket-accept"] == accept(KEY).decode()
    assert post(fake, f"/containers/{cat}/start") == 204
    send(wire, BINARY, b"hello")
    assert receive(wire) == (BINARY, b"hello")  # the payload alone, without Docker's frames
    send(wire, PING, b"there?")
    assert receive(wire) == (0xA, b"there?")
    send(wire, CLOSE, struct.pack(">H", 1000))
    assert receive(wire) == (CLOSE, struct.pack(">H", 1000))
    assert wire.rest() == b""
    eventually(lambda: fake.containers.closed == 1)


def test_the_container_ends_first(fake, cat, wire):
    connect(wire, cat)
    assert post(fake, f"/containers/{cat}/start") == 204
    post(fake, f"/containers/{cat}/kill")
    opcode, _ = receive(wire)
    while opcode != CLOSE:
        opcode, _ = receive(wire)
    assert wire.rest() == b""


def test_what_is_no_frame_ends_it(fake, cat, wire):
    connect(wire, cat)
    assert post(fake, f"/containers/{cat}/start") == 204
    wire.send(b"\x82\x01x")  # not masked
    assert receive(wire) == (CLOSE, struct.pack(">H", 1002))
    eventually(lambda: fake.containers.closed == 1)


def test_one_subprotocol_is_spoken(cat, wire):
    assert (
        connect(wire, cat, "stream=1", "", "Sec-WebSocket-Protocol: binary")[1]["sec-websocket-protocol"]
        == "binary"
    )


def test_old_clients_get_text(fake, cat, wire):
    connect(wire, cat, "stream=1", "/v1.27")  # and all streams without asking
    assert post(fake, f"/containers/{cat}/start") == 204
    send(wire, 1, b"x")
    assert receive(wire) == (1, b"x")


def test_refusals(cat, wire):
    assert wire.request("GET", f"/containers/{cat}/attach/ws?stream=1")[0] == 400
    assert connect(wire, "nobody")[0] == 404
