"""Registries that misbehave when they are written to, or page without end."""

import json
import os

import pytest

from corten.reference import parse_normalized
from corten.registry.client import BytesBody, FileBody, PushTarget, RegistryHosts, RemoteRegistry
from corten.registry.client.errors import BadResponse, RegistryError, Unreachable
from corten.types.system import AuthConfig
from imagefiles import MANIFEST, Sample, sha256
from registry_server import Registry

USER = AuthConfig(username="user", password="secret")
DATA = b"some content"
DIGEST = sha256(DATA)


@pytest.fixture
def registry():
    with Registry(auth="basic") as registry:
        yield registry


def target(registry, **more):
    hosts = RegistryHosts(timeout_s=0.5)
    return registry.closing(PushTarget(parse_normalized(f"{registry.host}/x"), USER, hosts, **more))


def answers(registry, monkeypatch, method):
    monkeypatch.setattr(registry._server.RequestHandlerClass, "uploading", method)


def test_uploads_elsewhere_go_without_credentials(registry, monkeypatch):
    """Storage of its own is a registry's right; our password is not its storage's."""
    with Registry() as storage:
        storage.uploads["0"] = b""

        def elsewhere(self, name, upload):
            self.answer(202, Location=f"http://{storage.host}/v2/x/blobs/uploads/0")

        answers(registry, monkeypatch, elsewhere)
        target(registry).upload(DIGEST, BytesBody(DATA))
        assert storage.blobs[DIGEST] == DATA
        assert [authorization for _, _, authorization in storage.requests] == [None]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "http://[", ""])
def test_addresses_for_uploads_that_are_none(registry, monkeypatch, location):
    answers(registry, monkeypatch, lambda self, *_: self.answer(202, Location=location))
    with pytest.raises(RegistryError):
        target(registry).upload(DIGEST, BytesBody(DATA))


@pytest.mark.parametrize("status", [200, 201, 204, 302])
def test_answers_to_an_upload_that_mean_nothing(registry, monkeypatch, status):
    answers(registry, monkeypatch, lambda self, *_: self.answer(status, b"" if status == 204 else b"<html>"))
    with pytest.raises(BadResponse, match=f"registry answered with status {status} to an upload"):
        target(registry).upload(DIGEST, BytesBody(DATA))


def test_a_registry_that_stores_something_else(registry, monkeypatch):
    monkeypatch.setattr(
        registry._server.RequestHandlerClass,
        "manifests",
        lambda self, *_: self.answer(201, Docker_Content_Digest=sha256(b"other")),
    )
    with pytest.raises(BadResponse, match="has stored manifest .* as sha256:"):
        target(registry).put_manifest("1", Sample().manifest, MANIFEST)


def test_an_upload_that_is_redirected_to_another_host(registry, monkeypatch):
    """308 keeps method and body; the credentials stay behind."""
    with Registry() as other:

        def manifests(self, name, which):
            self.answer(308, Location=f"http://{other.host}/v2/x/manifests/{which}")

        monkeypatch.setattr(registry._server.RequestHandlerClass, "manifests", manifests)
        target(registry).put_manifest("1", Sample().manifest, MANIFEST)
        assert other.manifests["x", "1"] == Sample().manifest
        assert [authorization for _, _, authorization in other.requests] == [None]


@pytest.mark.parametrize("progress", ["", "0-x", "nonsense", "0-99999999999999999999"])
def test_an_upload_that_says_nonsense_of_how_far_it_is(registry, monkeypatch, tmp_path, progress):
    (tmp_path / "blob").write_bytes(DATA * 100)
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    original = registry._server.RequestHandlerClass.uploading

    def confused(self, name, upload):
        if self.command == "GET":
            return self.answer(204, Location=self.path, Range=progress)
        return original(self, name, upload)

    answers(registry, monkeypatch, confused)
    registry.break_uploads = [10]
    try:
        with pytest.raises(RegistryError):
            target(registry, chunk=500).upload(sha256(DATA * 100), FileBody(fd, 0, 1200))
    finally:
        os.close(fd)
    assert registry.blobs == {}


def test_a_registry_that_stalls(registry, monkeypatch):
    import threading

    released = threading.Event()
    answers(registry, monkeypatch, lambda self, *_: (released.wait(10), self.answer(202))[1])
    with pytest.raises(Unreachable, match="timeout"):
        target(registry).upload(DIGEST, BytesBody(DATA))
    released.set()


def test_tags_without_end(monkeypatch):
    with Registry() as registry:
        pages = []

        def tags(self, name, _):
            pages.append(self.path)
            more = f'</v2/x/tags/list?last={len(pages)}>; rel="next"'
            self.answer(200, json.dumps({"tags": ["a"]}).encode(), Link=more)

        monkeypatch.setattr(registry._server.RequestHandlerClass, "tags", tags)
        remote = registry.closing(
            RemoteRegistry(parse_normalized(f"{registry.host}/x"), None, RegistryHosts())
        )
        with pytest.raises(BadResponse, match="list of tags does not end"):
            remote.tags()


def test_pages_of_another_host_are_asked_of_this_one(monkeypatch):
    with Registry() as registry:

        def tags(self, name, _):
            first = "?" not in self.path
            headers = {"Link": '<http://evil.invalid/v2/x/tags/list?last=a>; rel="next"'} if first else {}
            self.answer(200, json.dumps({"tags": ["a" if first else "b"]}).encode(), **headers)

        monkeypatch.setattr(registry._server.RequestHandlerClass, "tags", tags)
        remote = registry.closing(
            RemoteRegistry(parse_normalized(f"{registry.host}/x"), None, RegistryHosts())
        )
        assert remote.tags() == ["a", "b"]
