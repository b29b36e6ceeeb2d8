"""Pushing against a registry of ours that keeps what it gets."""

import gzip
import json

import pytest

from corten.errors import NotFound
from corten.images.transfer import TransferSettings
from corten.registry.client import upload
from corten.registry.client.errors import NoBasicCredentials, RegistryError
from corten.types.system import AuthConfig
from imagefiles import Sample, config, docker_archive, sha256, tar
from registry_server import Registry

USER = AuthConfig(username="user", password="secret")


@pytest.fixture
def registry():
    with Registry() as registry:
        yield registry


def statuses(lines):
    return [(line.id, line.status) for line in lines if line.status != "Pushing"]


def load(images, tag, *layers):
    """An image whose layers were not compressed, under a tag."""
    raw = config(*layers)
    images.load(docker_archive((raw, list(layers), [tag])))
    return raw


def layer(text):
    return tar(("file", text))


def test_push(images, registry):
    one, two = layer(b"one" * 1000), layer(b"two")
    name = f"{registry.host}/x"
    raw = load(images, f"{name}:1", one, two)
    images.events.clear()
    lines = images.push(f"{name}:1")
    short = [sha256(each)[7:19] for each in (one, two)]
    said = statuses(lines)
    assert said[:3] == [
        ("", f"The push refers to repository [{name}]"),
        (short[1], "Preparing"),
        (short[0], "Preparing"),
    ]
    for each in short:
        assert [status for name_, status in said if name_ == each] == ["Preparing", "Pushed"]
    stored = registry.manifests["x", "1"]
    digest = sha256(stored)
    assert said[-2] == ("", f"1: digest: {digest} size: {len(stored)}")
    assert lines[-1].aux == {"Tag": "1", "Digest": digest, "Size": len(stored)}
    manifest = json.loads(stored)
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert manifest["config"]["digest"] == sha256(raw)
    assert registry.blobs[sha256(raw)] == raw
    assert [gzip.decompress(registry.blobs[each["digest"]]) for each in manifest["layers"]] == [one, two]
    assert images.events == [("push", f"{name}:1", name)]
    assert images.store.resolve(f"{name}@{digest}").id == sha256(raw)
    assert registry.uploads == {}

    again = statuses(images.push(f"{name}:1"))
    assert [status for name_, status in again if name_ in short] == ["Preparing"] * 2 + [
        "Layer already exists"
    ] * 2
    assert again[-2:] == said[-2:]


def test_what_was_pulled_is_pushed_byte_for_byte(images, registry):
    s = Sample()
    registry.add("x", "latest", s)
    images.pull(f"{registry.host}/x")
    with Registry() as other:
        images.store.tag(f"{registry.host}/x", f"{other.host}/y:z")
        said = statuses(images.push(f"{other.host}/y:z"))
        assert other.manifests["y", "z"] == s.manifest
        assert {other.blobs[sha256(blob)] for blob in s.blobs} == set(s.blobs)
        assert said[-2][1] == f"z: digest: {s.digest} size: {len(s.manifest)}"


def test_layers_are_mounted_from_a_neighbour(images, registry):
    name = f"{registry.host}/first"
    load(images, f"{name}:1", layer(b"one"))
    images.push(f"{name}:1")
    images.store.tag(f"{name}:1", f"{registry.host}/second:1")
    registry.requests.clear()
    said = statuses(images.push(f"{registry.host}/second:1"))
    assert (sha256(layer(b"one"))[7:19], "Mounted from first") in said
    posts = [path for method, path, _ in registry.requests if method == "POST"]
    assert len(posts) == 2  # the mount and the config
    assert registry.manifests["second", "1"] == registry.manifests["first", "1"]


def test_a_neighbour_that_has_forgotten_the_layer(images, registry):
    load(images, f"{registry.host}/first:1", layer(b"one"))
    images.push(f"{registry.host}/first:1")
    registry.repositories.clear()
    registry.blobs.clear()
    images.store.tag(f"{registry.host}/first:1", f"{registry.host}/second:1")
    said = statuses(images.push(f"{registry.host}/second:1"))
    assert (sha256(layer(b"one"))[7:19], "Pushed") in said
    assert registry.uploads == {}


def test_all_tags(images, registry):
    name = f"{registry.host}/x"
    load(images, f"{name}:1", layer(b"one"))
    load(images, f"{name}:2", layer(b"one"), layer(b"two"))
    lines = images.push(name, all_tags=True)
    assert [line.aux["Tag"] for line in lines if line.aux] == ["1", "2"]
    assert {tag for _, tag in registry.manifests if ":" not in tag} == {"1", "2"}


def test_what_is_not_here(images, registry):
    with pytest.raises(NotFound, match="An image does not exist locally with the tag: .*/x$"):
        images.push(f"{registry.host}/x:1")
    load(images, f"{registry.host}/x:1", layer(b"one"))
    with pytest.raises(NotFound, match="tag does not exist: .*/x:2$"):
        images.push(f"{registry.host}/x:2")


def test_credentials(images):
    with Registry(auth="basic") as registry:
        load(images, f"{registry.host}/x:1", layer(b"one"))
        with pytest.raises(NoBasicCredentials, match="^no basic auth credentials"):
            images.push(f"{registry.host}/x:1")
        images.push(f"{registry.host}/x:1", auth=USER)
        assert ("x", "1") in registry.manifests
    with Registry(auth="token") as registry:
        load(images, f"{registry.host}/x:1", layer(b"one"))
        images.push(f"{registry.host}/x:1", auth=AuthConfig(identity_token="the-identity"))
        assert ("x", "1") in registry.manifests
        tokens = [method for method, path, _ in registry.requests if path.startswith("/token")]
        assert set(tokens) == {"POST"}


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(upload.PushTarget.__init__, "__kwdefaults__", {"chunk": 1000})


def incompressible(size):
    import random

    return random.Random(1).randbytes(size)


def test_chunks_and_breaks_in_them(images, registry, small_chunks):
    load(images, f"{registry.host}/x:1", layer(incompressible(3000)))
    registry.break_uploads = [400, 999, 100]
    said = statuses(images.push(f"{registry.host}/x:1"))
    assert ("", said[-2][1]) == said[-2] and said[-2][1].startswith("1: digest")
    patches = [path for method, path, _ in registry.requests if method == "PATCH"]
    assert len(patches) >= 2 and registry.break_uploads == [] and registry.uploads == {}
    assert not any("Retrying" in status for _, status in said)


def test_a_registry_without_chunks(images, registry, small_chunks):
    registry.chunks = False
    load(images, f"{registry.host}/x:1", layer(incompressible(3000)))
    images.push(f"{registry.host}/x:1")
    assert ("x", "1") in registry.manifests


def test_a_broken_upload_is_tried_again(images, registry):
    load(images, f"{registry.host}/x:1", layer(b"one"))
    registry.break_uploads = [10, 10]
    said = statuses(images.push(f"{registry.host}/x:1"))
    assert sum("Retrying in 1 second" in status for _, status in said) == 2
    assert ("x", "1") in registry.manifests


def test_giving_up(images, registry):
    images.store.use(TransferSettings(attempts=2, retry_delay_s=0.01))
    load(images, f"{registry.host}/x:1", layer(b"one"))
    registry.break_uploads = [10, 10]
    with pytest.raises(RegistryError):
        images.push(f"{registry.host}/x:1")
    assert registry.manifests == {}
