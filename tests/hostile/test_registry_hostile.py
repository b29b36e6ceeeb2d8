"""Registries that lie, leak or never end."""

import json
import socket
import threading

import pytest

from corten.oci.image import InvalidDocument
from corten.reference import parse_normalized
from corten.registry.client import RegistryHosts, RemoteRegistry
from corten.registry.client.errors import BadResponse, RegistryError, Unreachable
from corten.registry.client.transport import Transport
from corten.types.system import AuthConfig
from imagefiles import INDEX, MANIFEST, Sample, sha256
from registry_server import Registry

USER = AuthConfig(username="user", password="secret")


def remote(registry, auth=None):
    return registry.closing(RemoteRegistry(parse_normalized(f"{registry.host}/x"), auth, RegistryHosts()))


@pytest.fixture
def registry():
    with Registry() as registry:
        registry.add("x", "latest", Sample())
        yield registry


def test_manifest_is_not_what_its_digest_says(registry):
    s = Sample()
    registry.replace[s.digest] = s.manifest + b" "
    with pytest.raises(BadResponse, match=f"manifest verification failed for digest {s.digest}"):
        remote(registry).manifest(s.digest)


def test_config_is_not_what_its_digest_says(registry):
    s = Sample()
    registry.replace[s.id] = s.config + b" "
    with pytest.raises(BadResponse, match="image config verification failed"):
        remote(registry).read_blob(s.id, 10_000)


def test_huge_manifest_and_config(registry):
    registry.replace["latest"] = b" " * (5 << 20)
    with pytest.raises(BadResponse, match="larger than 4194304 bytes"):
        remote(registry).manifest("latest")
    with pytest.raises(BadResponse, match="larger than 10 bytes"):
        remote(registry).read_blob(Sample().id, 10)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b'{"schemaVersion": 2, "manifests": [], "layers": []}',
        b'{"schemaVersion": "two"}',
        b"\xff\xfe",
    ],
)
def test_manifests_that_are_none(registry, raw):
    registry.put_manifest("x", "bad", raw, MANIFEST)
    with pytest.raises((InvalidDocument, BadResponse)):
        remote(registry).manifest("bad")


def test_manifest_that_is_two_things(registry):
    """CVE-2021-41190: the same bytes must not be an image here and an index there."""
    raw = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}).encode()
    registry.put_manifest("x", "confused", raw, INDEX)
    with pytest.raises(InvalidDocument, match="is served as"):
        remote(registry).manifest("confused")


def test_html_with_status_200(registry):
    registry.put_manifest("x", "page", b"{}", "text/html")
    with pytest.raises(BadResponse, match="unexpected media type"):
        remote(registry).manifest("page")


def test_credentials_do_not_follow_redirects(registry):
    """CVE-2020-15157."""
    with Registry(auth="basic") as first, Registry() as second:
        first.add("x", "latest", Sample())
        second.add("x", "latest", Sample())
        first.redirect = f"http://{second.host}/v2/x/blobs/"
        assert remote(first, USER).read_blob(Sample().id, 10_000) == Sample().config
        assert [header for _, _, header in second.requests] == [None]
        assert any(header for _, _, header in first.requests)


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd?", "ftp://127.0.0.1/", "gopher:x", "http://", "http://[::1"]
)
def test_redirects_to_other_schemes(registry, target):
    registry.redirect = target
    with pytest.raises(RegistryError):
        remote(registry).read_blob(Sample().id, 10_000)


def test_endless_redirects(registry):
    registry.redirect = f"http://{registry.host}/v2/x/blobs/"
    with pytest.raises(BadResponse, match="stopped after 10 redirects"):
        remote(registry).read_blob(Sample().id, 10_000)


@pytest.mark.parametrize(
    "realm",
    [
        "http://evil.invalid/token",
        "http://[",
        "https://a:b:c/",
        "file:///etc/passwd",
        "",
        "http://169.254.169.254/latest",
    ],
)
def test_credentials_are_not_sent_to_any_realm(realm):
    with Registry(auth="token", realm=realm or "x:") as registry:
        with pytest.raises(BadResponse, match="asks to authenticate at an unsafe address|parse "):
            remote(registry, USER).manifest("latest")
        assert not any(header for _, _, header in registry.requests)


@pytest.mark.parametrize(
    "token", [b'{"token": "a\\r\\nX-Evil: 1"}', b"{}", b"[]", b"<html>", b'{"token": 5}']
)
def test_tokens_that_are_none(token, monkeypatch):
    with Registry(auth="token") as registry:
        monkeypatch.setattr(
            registry._server.RequestHandlerClass, "token", lambda self, _: self.answer(200, token)
        )
        with pytest.raises(BadResponse, match="did not include a token"):
            remote(registry, USER).manifest("latest")


def test_range_that_was_not_asked_for(registry, monkeypatch):
    s = Sample()

    def blobs(self, _, which):
        self.answer(206, b"evil", Content_Range="bytes 0-3/4")

    monkeypatch.setattr(registry._server.RequestHandlerClass, "blobs", blobs)
    with pytest.raises(BadResponse, match="wrong range"):
        remote(registry).blob(sha256(s.blobs[0]), 5)


@pytest.fixture
def raw_server():
    """raw_server(bytes) -> host of a server that answers every connection with them and holds it open."""
    servers, connections = [], []

    def start(answer):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection)
                connection.recv(1)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstalls",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nstalls",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_servers_that_do_not_speak_http(raw_server, answer):
    transport = Transport(timeout_s=0.2)
    url = f"http://{raw_server(answer)}/v2/"
    with pytest.raises((Unreachable, BadResponse)), transport.request("GET", url, {}) as response:
        response.read(1000)
