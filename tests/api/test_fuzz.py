"""Arbitrary bytes: the server answers or closes, and goes on serving others."""

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_client import Wire

fragments = st.sampled_from(
    [
        b"GET /_ping HTTP/1.1\r\n",
        b"POST /containers/create HTTP/1.1\r\n",
        b"POST /images/load HTTP/1.1\r\n",
        b"POST /containers/x/attach?stream=1 HTTP/1.1\r\n",
        b"GET /version HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: tcp\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"{}",
        b"hello",
        b"\n",
    ]
)
pieces = st.lists(fragments | st.binary(max_size=20), max_size=12)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces, st.booleans())
def test_the_server_survives_anything(fake, sent, half_close):
    with fake.connect() as sock:
        try:
            for piece in sent:
                sock.sendall(piece)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
                Wire(sock).rest()  # everything that was begun comes to an end
        except (BrokenPipeError, ConnectionResetError):
            pass
    with fake.connect() as sock:
        assert Wire(sock).request("GET", "/_ping")[0] == 200


@pytest.fixture(autouse=True)
def nothing_is_left(fake):
    yield
    from wire_client import eventually

    eventually(lambda: not fake.server.connections and not fake.server.streams and not fake.server._tasks)
