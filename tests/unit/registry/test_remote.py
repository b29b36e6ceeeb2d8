"""The client against a real server on loopback."""

import json
import socket
from typing import ClassVar

import pytest

from corten.reference import parse_normalized
from corten.registry.client import RegistryHosts, RegistryTrust, RemoteRegistry
from corten.registry.client.errors import (
    AccessDenied,
    AuthenticationFailed,
    BadResponse,
    ManifestUnknown,
    NoBasicCredentials,
    RegistryError,
    RepositoryUnknown,
    Unreachable,
    error_of,
)
from corten.types.system import AuthConfig
from imagefiles import INDEX, MANIFEST, Sample, sha256
from registry_server import Registry

USER = AuthConfig(username="user", password="secret")


def remote(registry, name="x", auth=None):
    client = RemoteRegistry(parse_normalized(f"{registry.host}/{name}"), auth, RegistryHosts())
    return registry.closing(client)


@pytest.fixture(params=[None, "basic", "token"])
def registry(request):
    with Registry(auth=request.param) as registry:
        registry.add("x", "latest", Sample())
        yield registry


def test_reading_with_every_kind_of_authentication(registry):
    client = remote(registry, auth=USER)
    s = Sample()
    found = client.manifest("latest")
    assert (found.raw, found.digest, found.media_type) == (s.manifest, s.digest, MANIFEST)
    assert client.manifest(s.digest) == found
    assert client.read_blob(s.id, 10_000) == s.config
    stream = client.blob(sha256(s.blobs[0]))
    data = b""
    while piece := stream.read():
        data += piece
    stream.close()
    assert data == s.blobs[0]
    assert client.tags() == ["latest"]
    assert client.login() == ("Login Succeeded", "")


def test_ranges(registry):
    blob = Sample().blobs[0]
    stream = remote(registry, auth=USER).blob(sha256(blob), 10)
    assert (stream.offset, bytes(stream.read())) == (10, blob[10:])
    stream.close()
    registry.ranges = False
    stream = remote(registry, auth=USER).blob(sha256(blob), 10)
    assert (stream.offset, bytes(stream.read())) == (0, blob)
    stream.close()


def test_what_is_not_there(registry):
    with pytest.raises(ManifestUnknown, match="^manifest unknown: manifest unknown$"):
        remote(registry, auth=USER).manifest("other")
    with pytest.raises(RepositoryUnknown, match="^name unknown: repository name not known to registry$"):
        remote(registry, "other", auth=USER).manifest("latest")
    with pytest.raises(RegistryError, match="^blob unknown: blob unknown to registry$"):
        remote(registry, auth=USER).read_blob(sha256(b"nothing"), 100)


def test_without_credentials():
    with (
        Registry(auth="basic") as registry,
        pytest.raises(NoBasicCredentials, match='^Head "http://.*/v2/x/manifests/latest": no basic auth'),
    ):
        remote(registry).manifest("latest")


def test_wrong_credentials():
    wrong = AuthConfig(username="user", password="wrong")
    with Registry(auth="basic") as registry, pytest.raises(AuthenticationFailed) as e:
        remote(registry, auth=wrong).login()
    assert str(e.value) == f"login attempt to http://{registry.host}/v2/ failed with status: 401 Unauthorized"
    with Registry(auth="token") as registry, pytest.raises(AuthenticationFailed) as e:
        remote(registry, auth=wrong).login()
    assert str(e.value) == "unauthorized: incorrect username or password"


def test_a_token_given_by_the_user_is_shown_as_it_is():
    with Registry(auth="token") as registry:
        registry.add("x", "latest", Sample())
        assert remote(registry, auth=AuthConfig(registry_token="the-token")).manifest("latest").raw
        assert not any(path.startswith("/token") for _, path, _ in registry.requests)


def test_nobody_listens():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    client = RemoteRegistry(parse_normalized(f"127.0.0.1:{port}/x"), None, RegistryHosts())
    with pytest.raises(Unreachable) as e:
        client.manifest("latest")
    assert (
        str(e.value)
        == f'Get "http://127.0.0.1:{port}/v2/": dial tcp 127.0.0.1:{port}: connect: connection refused'
    )


def test_a_registry_that_is_not_trusted_must_speak_tls():
    with Registry() as registry:
        trust = RegistryTrust()
        trust.is_insecure = lambda host: False
        client = RemoteRegistry(parse_normalized(f"{registry.host}/x"), None, RegistryHosts(trust=trust))
        with pytest.raises(Unreachable, match="server gave HTTP response to HTTPS client"):
            client.ping()


def test_errors_without_json():
    assert isinstance(error_of(500, b"<html>"), BadResponse)
    assert str(error_of(401, b"")) == "unauthorized: authentication required"
    assert str(error_of(403, b"<html>")) == "denied: requested access to the resource is denied"
    assert isinstance(error_of(403, b"{}"), AccessDenied)
    assert (
        str(error_of(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'))
        == "toomanyrequests: slow down"
    )


def test_index_is_known_as_one():
    with Registry() as registry:
        raw = registry.add_index("multi", "1", {"linux/amd64": Sample()})
        found = remote(registry, "multi").manifest("1")
        assert (found.media_type, found.digest) == (INDEX, sha256(raw))


class Page:
    """One of a list that never ends."""

    status = 200
    headers: ClassVar = {"Link": '</v2/x?n=2>; rel="next"'}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing to do."""

    def read(self, limit):
        entry = {"mediaType": MANIFEST, "digest": sha256(b"x"), "size": 1}
        return json.dumps({"schemaVersion": 2, "manifests": [entry, entry], "tags": ["a", "b"]}).encode()


@pytest.mark.parametrize("ask", [RemoteRegistry.tags, lambda remote: remote.referrers(sha256(b"y"))])
def test_lists_do_not_take_any_memory(monkeypatch, ask):
    asked = []
    monkeypatch.setattr(RemoteRegistry, "_get", lambda *_, **__: (asked.append(1) or Page(), None))
    monkeypatch.setattr("corten.registry.client.remote._MOST_LISTED", 9)
    with Registry() as registry, pytest.raises(BadResponse, match="does not end"):
        ask(remote(registry))
    assert len(asked) == 5


def test_timeouts_are_told_as_such():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        client = RemoteRegistry(
            parse_normalized(f"127.0.0.1:{s.getsockname()[1]}/x"),
            None,
            RegistryHosts(timeout_s=0.05),
        )
        with pytest.raises(Unreachable, match="timeout"):
            client.ping()


def test_errors_that_are_nothing_but_their_code():
    bare = error_of(
        404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":null}]}'
    )
    assert (str(bare), bare.bare) == ("manifest unknown", True)
    other = error_of(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"manifest unknown"}]}')
    assert (str(other), other.bare) == ("blob unknown: manifest unknown", False)
