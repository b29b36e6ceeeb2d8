"""Answers that are kept by the request's bytes: what must not come of it."""

import json
import logging
import socket

import pytest
from fakes import serving
from wire_client import Wire

from corten.api import keptanswers
from corten.errors import Forbidden

PING = b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Plugins:
    """In place of `Authorization`."""

    active = False

    async def admit(self, request, *, template):
        raise Forbidden("a plugin said no")


@pytest.mark.parametrize("request_", [PING, PING.replace(b"/_ping", b"/v1.45/version")])
def test_the_same_again_is_answered_alike_but_for_the_date(wire, monkeypatch, request_):
    wire.send(request_)
    first = wire.answer()
    monkeypatch.setattr(keptanswers, "http_date", lambda: b"later")
    wire.send(request_)
    status, headers, body = wire.answer()
    assert headers["date"] == "later"
    assert (status, headers | {"date": first[1]["date"]}, body) == first


def test_head_is_not_answered_as_get_nor_an_old_version_as_a_new_one(wire):
    for method in ("GET", "HEAD", "GET", "HEAD"):
        assert wire.request(method, "/_ping")[2] == (b"OK" if method == "GET" else b"")
    for _ in range(2):
        assert wire.request("GET", "/v1.45/version")[0] == 200
        assert wire.request("GET", "/v1.99/version")[0] == 400


def test_kept_among_others(wire):
    wire.send(PING)
    wire.send(PING + PING)
    wire.send(PING[:20])
    wire.send(PING[20:] + b"\r\n" + PING)
    assert [wire.answer()[0] for _ in range(5)] == [200] * 5


def test_a_body_is_not_taken_for_the_next_request(wire):
    head = b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(PING)
    for pieces in ([head + PING], [head, PING], [head + PING[:5], PING[5:]], [head, PING]):
        for piece in pieces:
            wire.send(piece)
        assert wire.answer()[2] == b"OK"
    assert wire.request("GET", "/nothing")[0] == 404  # and no ping before it


def test_a_client_that_wants_to_close_is_closed_each_time(fake):
    for _ in range(2):
        with fake.connect() as sock:
            wire = Wire(sock)
            wire.send(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert wire.answer()[1]["connection"] == "close"
            assert wire.rest() == b""


def test_what_the_unix_socket_was_answered_a_page_is_not(fake, wire):
    request = b"GET /_ping HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    for _ in range(2):
        wire.send(request)
        assert wire.answer()[0] == 200
    [port] = fake.call(lambda: fake.server.listen_tcp("127.0.0.1", 0))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        page = Wire(sock)
        page.send(request)
        assert page.answer()[0] == 403


def test_plugins_are_asked_from_the_moment_they_are_there(tmp_path):
    plugins = Plugins()
    with serving(str(tmp_path / "api.sock"), authorization=plugins) as fake, fake.connect() as sock:
        wire = Wire(sock)
        for active, status in ((False, 200), (False, 200), (True, 403), (True, 403), (False, 200)):
            plugins.active = active
            wire.send(PING)
            assert wire.answer()[0] == status


def test_every_request_is_logged_where_they_are(wire, caplog):
    wire.send(PING)
    wire.answer()
    with caplog.at_level(logging.DEBUG, logger="corten.api.application"):
        wire.send(PING)
        wire.answer()
    assert "GET /_ping" in caplog.text


def test_clients_cannot_make_us_keep_much(fake, wire):
    for number in range(300):
        padding = "x" * (number % 3) * 400
        assert wire.request("GET", "/_ping", None, f"User-Agent: {number} {padding}")[2] == b"OK"
    kept = fake.server.kept._parts
    assert 0 < len(kept) <= 64
    assert max(map(len, kept)) <= 512


def test_errors_are_not_kept(wire):
    for _ in range(2):
        status, _, body = wire.request("GET", "/v1.99/_ping")
        assert status == 400
        assert "too new" in json.loads(body)["message"]
