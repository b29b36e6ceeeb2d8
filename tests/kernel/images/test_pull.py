import asyncio
import gzip
import hashlib
import json
import socket

import pytest
from backports import zstd

from corten.digest import DigestMismatch
from corten.errors import CortenError, InvalidParameter, NotFound
from corten.images import documents
from corten.types.system import AuthConfig
from imagefiles import LAYER, MANIFEST, Sample, config, docker_archive, manifest, sha256, tar, tree
from registry_server import Registry

USER = AuthConfig(username="user", password="secret")


@pytest.fixture
def registry():
    with Registry() as registry:
        registry.add("x", "latest", Sample())
        yield registry


def statuses(lines):
    return [
        (line.id, line.status)
        for line in lines
        if line.status not in ("Downloading", "Extracting", "Waiting")
    ]


def test_pull(images, registry):
    s = Sample()
    name = f"{registry.host}/x"
    short = [sha256(blob)[7:19] for blob in s.blobs]
    said = statuses(images.pull(name))
    assert said[:3] == [
        ("latest", "Pulling from x"),
        (short[0], "Pulling fs layer"),
        (short[1], "Pulling fs layer"),
    ]
    for layer in short:
        of_layer = [status for layer_id, status in said if layer_id == layer]
        assert of_layer == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    assert said[-2:] == [
        ("", f"Digest: {s.digest}"),
        ("", f"Status: Downloaded newer image for {name}:latest"),
    ]
    image = images.store.resolve(name)
    assert image.id == s.id
    assert [layer.blob for layer in image.layers] == [sha256(b) for b in s.blobs]
    assert documents.inspect(images.store, name).repo_digests == [f"{name}@{s.digest}"]
    assert images.store.resolve(f"{name}@{s.digest}").id == s.id
    assert images.events == [("pull", f"{name}:latest", name)]

    assert statuses(images.pull(name)) == [
        ("latest", "Pulling from x"),
        ("", f"Digest: {s.digest}"),
        ("", f"Status: Image is up to date for {name}:latest"),
    ]
    # With the last tag the digests go.
    assert images.remove(name)[:3] == [f"{name}:latest", f"{name}@{s.digest}", s.id]


def test_a_moved_tag(images, registry):
    images.pull(f"{registry.host}/x")
    newer = Sample(b"newer")
    registry.add("x", "latest", newer)
    assert images.pull(f"{registry.host}/x")[-1].status.startswith("Status: Downloaded newer image")
    assert images.store.resolve(f"{registry.host}/x").id == newer.id
    assert len(images.store.all()) == 2


def test_by_digest(images, registry):
    s = Sample()
    name = f"{registry.host}/x@{s.digest}"
    said = statuses(images.pull(name))
    assert said[0] == (s.digest, "Pulling from x")
    assert said[-1] == ("", f"Status: Downloaded newer image for {name}")
    assert [str(n) for n in images.store.names(s.id)] == [name]


def test_all_tags(images, registry):
    registry.add("x", "other", Sample(b"other"))
    images.pull(f"{registry.host}/x", all_tags=True)
    assert len(images.store.all()) == 2


def test_index_and_platforms(images):
    here, arm = Sample(), Sample(b"arm", architecture="arm", variant="v6")
    with Registry() as registry:
        raw = registry.add_index("multi", "1", {"linux/arm/v6": arm, "linux/amd64": here})
        name = f"{registry.host}/multi:1"
        assert images.pull(name)[-2].status == f"Digest: {sha256(raw)}"
        assert images.store.resolve(name).id == here.id
        images.pull(name, platform="linux/arm/v7")
        assert images.store.resolve(name).id == arm.id
        with pytest.raises(
            NotFound, match="no matching manifest for linux/s390x in the manifest list entries"
        ):
            images.pull(name, platform="linux/s390x")
        registry.add("single", "1", here)
        with pytest.raises(
            NotFound, match="does not match the specified platform: wanted linux/s390x, actual: linux/amd64"
        ):
            images.pull(f"{registry.host}/single:1", platform="linux/s390x")


def test_credentials(images):
    for kind in ("basic", "token"):
        with Registry(auth=kind) as registry:
            registry.add("private/x", "1", Sample())
            images.pull(f"{registry.host}/private/x:1", auth=USER)
    with Registry(auth="basic") as registry, pytest.raises(CortenError, match="no basic auth credentials"):
        images.pull(f"{registry.host}/private/x:1")


def test_layers_that_are_here_are_not_fetched(images, registry):
    s = Sample()
    images.load(docker_archive((config(s.layers[0]), [s.layers[0]], ["base:1"])))
    said = statuses(images.pull(f"{registry.host}/x"))
    assert (sha256(s.blobs[0])[7:19], "Already exists") in said
    fetched = [path for _, path, _ in registry.requests if "/blobs/" in path]
    assert len(fetched) == 2  # config and second layer


def zstd_chunked(layer, toc=b'{"version":1,"entries":[]}'):
    """Frames that can be read alone, then a table of contents that plain readers skip (containers/storage)."""

    def skippable(content):
        return b"\x50\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content

    frames = [zstd.compress(layer[at : at + 1024]) for at in range(0, len(layer), 1024)]
    return b"".join((*frames, skippable(zstd.compress(toc)), skippable(bytes(56) + b"GNUlInUx")))


def estargz(layer):
    """Members that can be read alone, and an empty one whose extra field says where the table is (stargz)."""
    members = [gzip.compress(layer[at : at + 1024], mtime=0) for at in range(0, len(layer), 1024)]
    extra = b"SG" + (22).to_bytes(2, "little") + f"{len(b''.join(members[:-1])):016x}STARGZ".encode()
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + len(extra).to_bytes(2, "little") + extra
    return b"".join(members) + header + b"\x01\0\0\xff\xff" + bytes(8)


@pytest.mark.parametrize(
    ("pack", "media_type"),
    [
        (zstd_chunked, LAYER + "+zstd"),
        (estargz, LAYER + "+gzip"),
        (bytes, LAYER),
        (zstd.compress, LAYER + "+zstd"),
    ],
)
def test_every_form_of_layer_goes_through_byte_for_byte(images, registry, new_store, pack, media_type):
    layer = tar(("data", b"d" * 3000), ("stargz.index.json", b"{}"))
    document, blob = json.loads(manifest(config(layer), [pack(layer)], media_type)), pack(layer)
    document["layers"][0]["annotations"] = {"io.github.containers.zstd-chunked.manifest-checksum": "sha256:0"}
    document["annotations"] = {"org.opencontainers.image.title": "kept"}
    raw = json.dumps(document, indent=1).encode()
    registry.put_manifest("x", "form", raw, MANIFEST)
    registry.blobs.update({sha256(each): each for each in (config(layer), blob)})
    name = f"{registry.host}/x:form"
    images.pull(name)
    (directory,) = images.store.lower_dirs(images.store.resolve(name))
    assert tree(directory)["data"][4] == hashlib.sha256(b"d" * 3000).hexdigest()
    with Registry() as other:
        images.store.tag(name, f"{other.host}/y:1")
        images.push(f"{other.host}/y:1")
        assert other.manifests["y", "1"] == raw
        loaded = new_store()
        loaded.load(images.save(f"{other.host}/y:1"))
        loaded.push(f"{other.host}/y:1")
        assert other.manifests["y", "1"] == raw
        assert other.blobs[sha256(blob)] == blob


def test_broken_downloads_go_on_where_they_stopped(images, registry):
    s = Sample()
    registry.breaks[sha256(s.blobs[0])] = [30, 20, 0]
    said = [line.status for line in images.pull(f"{registry.host}/x")]
    assert said.count("Retrying in 1 seconds") == 3
    assert images.store.resolve(f"{registry.host}/x").id == s.id


def test_registry_without_ranges(images):
    s = Sample()
    with Registry(ranges=False) as registry:
        registry.add("x", "latest", s)
        registry.breaks[sha256(s.blobs[0])] = [30]
        images.pull(f"{registry.host}/x")
    assert images.store.resolve(f"{registry.host}/x").id == s.id


def test_registry_that_keeps_breaking(images, registry):
    registry.breaks[sha256(Sample().blobs[0])] = [3] * 10
    with pytest.raises(CortenError, match="unexpected EOF"):
        images.pull(f"{registry.host}/x")
    assert images.store.all() == []


def test_errors_as_docker_says_them(images, registry):
    with pytest.raises(NotFound) as e:
        images.pull(f"{registry.host}/x:other")
    assert (
        str(e.value) == f"manifest for {registry.host}/x:other not found: manifest unknown: manifest unknown"
    )
    with pytest.raises(NotFound) as e:
        images.pull(f"{registry.host}/other")
    assert str(e.value).startswith(f"repository {registry.host}/other not found: name unknown: ")


def test_denied(images, registry, monkeypatch):
    monkeypatch.setattr(
        registry._server.RequestHandlerClass,
        "manifests",
        lambda self, *_: self.error(403, "DENIED", "requested access to the resource is denied"),
    )
    with pytest.raises(NotFound) as e:
        images.pull(f"{registry.host}/secret")
    assert str(e.value) == (
        f"pull access denied for {registry.host}/secret, repository does not exist or may require "
        "'docker login': denied: requested access to the resource is denied"
    )


def test_nobody_listens(images):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(CortenError, match="connect: connection refused"):
        images.pull(f"127.0.0.1:{port}/x")


def test_layer_is_not_what_its_digest_says(images, registry):
    s = Sample()
    registry.replace[sha256(s.blobs[1])] = b"!" * len(s.blobs[1])
    with pytest.raises(DigestMismatch, match="filesystem layer verification failed for digest"):
        images.pull(f"{registry.host}/x")
    assert images.store.all() == []
    images.store.collector.collect()


def test_layer_does_not_match_its_diff_id(images, registry):
    s = Sample()
    evil = Sample(b"evil").blobs[0]
    raw = manifest(s.config, [evil, s.blobs[1]])
    registry.put_manifest("x", "evil", raw, "application/vnd.oci.image.manifest.v1+json")
    registry.blobs[sha256(evil)] = evil
    with pytest.raises(InvalidParameter, match="does not match its diff id"):
        images.pull(f"{registry.host}/x:evil")
    assert images.store.all() == []


def test_blob_longer_than_its_size(images, registry):
    s = Sample()
    raw = s.manifest.replace(f'"size": {len(s.blobs[0])}'.encode(), b'"size": 10')
    registry.put_manifest("x", "short", raw, "application/vnd.oci.image.manifest.v1+json")
    with pytest.raises(CortenError, match="unexpected size"):
        images.pull(f"{registry.host}/x:short")


def test_artifacts_are_no_images(images, registry):
    chart = b'{"name": "chart"}'
    raw = manifest(chart, []).replace(b"vnd.oci.image.config", b"vnd.cncf.helm.config")
    registry.put_manifest("x", "chart", raw, "application/vnd.oci.image.manifest.v1+json")
    registry.blobs[sha256(chart)] = chart
    with pytest.raises(CortenError, match="unsupported media type"):
        images.pull(f"{registry.host}/x:chart")


def test_cancelled_pull_leaves_nothing(images, registry):
    async def run():
        stream = images.store.pull(f"{registry.host}/x")
        async for line in stream:
            if line.status == "Pulling fs layer":
                break
        await stream.aclose()

    asyncio.run(run())
    assert images.store.all() == []
    images.store.collector.collect()
