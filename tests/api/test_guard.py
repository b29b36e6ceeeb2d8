"""What web pages may not do on TCP."""

import json
import socket

import pytest
from fakes import serving
from wire_client import Wire

from corten.api.guard import Guard


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("guard") / "api.sock")
    with serving(path, Guard(hosts=["build.example"], origins=["https://ui.example"])) as fake:
        yield fake.call(lambda: fake.server.listen_tcp("127.0.0.1", 0))[0]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Host: 127.0.0.1:2375"], 200),
        (["Host: [::1]:2375"], 200),
        (["Host: LOCALHOST"], 200),
        (["Host: build.example:2375"], 200),
        (["Host: evil.example"], 403),
        (["Host: 127.0.0.1.evil.example:2375"], 403),
        (["Host: localhost.evil.example"], 403),
        (["Host: localhost", "Origin: https://evil.example"], 403),
        (["Host: localhost", "Origin: null"], 403),
        (["Host: localhost", "Origin: http://localhost"], 403),
        (["Host: localhost", "Origin: https://ui.example"], 200),
        (["Host: localhost", "Sec-Fetch-Site: cross-site"], 403),
        (["Host: localhost", "Sec-Fetch-Site: none"], 200),
    ],
)
def test_host_and_origin(port, headers, expected):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        wire = Wire(sock)
        wire.send("\r\n".join(["GET /_ping HTTP/1.1", *headers, "", ""]).encode())
        status, _, body = wire.answer()
        assert status == expected
        if expected == 403:
            assert "not allowed" in json.loads(body)["message"]


def test_the_unix_socket_is_no_page_s(fake):
    with fake.connect() as sock:
        assert Wire(sock).request("GET", "/_ping", None, "Host2: x")[0] == 200
        wire = Wire(sock)
        wire.send(b"GET /_ping HTTP/1.1\r\nHost: api.moby.localhost\r\n\r\n")
        assert wire.answer()[0] == 200
