"""The registry over an engine's root: nothing is copied."""

import asyncio
import os
import sqlite3

import pytest

from corten.digest import hex_of
from corten.errors import NotFound
from corten.images import ImageStore
from corten.images.import_image import import_tar
from corten.metadata import Ledger
from corten.reference import parse_normalized
from imagefiles import INDEX, MANIFEST, Attestation, Sample, descriptor, index, sha256, tar
from registry_client import Registries
from registry_server import Registry

pytestmark = pytest.mark.root


@pytest.fixture
def images(tmp_path):
    root = str(tmp_path / "engine")
    os.mkdir(root)
    store = ImageStore(root, Ledger(os.path.join(root, "meta.db")))
    yield store
    store.close()
    store.ledger.close()


@pytest.fixture
def registry(images, tmp_path):
    registries = Registries(tmp_path)
    yield registries.start(engine_root=images.root)
    registries.close()


def pull(images, reference, **options):
    async def run():
        return [line async for line in images.pull(reference, **options)]

    asyncio.run(run())


def test_pulled_images_are_served_where_they_lie(images, registry):
    sample = Sample()
    with Registry() as server:
        server.add("team/x", "v1", sample)
        pull(images, f"{server.host}/team/x:v1")
        images.tag(f"{server.host}/team/x:v1", "x:mine")
    for name in ("x", "library/x"):
        status, _, raw = registry("GET", f"/v2/{name}/manifests/mine")
        assert (status, raw) == (200, sample.manifest)
        for blob in (sample.config, *sample.blobs):
            assert registry("GET", f"/v2/{name}/blobs/{sha256(blob)}")[2] == blob
    assert registry("GET", f"/v2/x/manifests/{sample.digest}")[0] == 200
    assert registry("GET", "/v2/_catalog")[2] == b'{"repositories": ["library/x"]}'
    assert registry("GET", "/v2/x/tags/list")[2] == b'{"name": "x", "tags": ["mine"]}'
    assert os.listdir(os.path.join(registry.root, "blobs/sha256")) == []
    assert b"engine's image" in registry("GET", "/r/library/x")[2]
    assert registry.error("DELETE", "/v2/x/manifests/mine") == (405, "UNSUPPORTED")


def test_content_is_seen_under_the_image_s_own_name_only(images, registry):
    sample = Sample()
    with Registry() as server:
        server.add("x", "latest", sample)
        pull(images, f"{server.host}/x")
        images.tag(f"{server.host}/x", "x")
    assert registry("HEAD", f"/v2/y/blobs/{sha256(sample.blobs[0])}")[0] == 404


def test_attestations_and_platforms_come_with_their_index(images, registry, tmp_path):
    """The index's digest is the one it was pulled by, as soon as all that it lists is here."""
    here, arm = Sample(), Sample(b"arm", architecture="arm64")
    attestation = Attestation(here)
    platforms = [
        descriptor(each.manifest, MANIFEST, platform={"os": "linux", "architecture": name})
        for each, name in ((here, "amd64"), (arm, "arm64"))
    ]
    raw = index(*platforms, attestation.descriptor)
    with Registry() as server:
        server.add_attested("x", "1", here, attestation)
        server.add("x", arm.digest, arm)
        server.put_manifest("x", "1", raw, INDEX)
        pull(images, f"{server.host}/x:1")
        images.tag(f"{server.host}/x:1", "x:1")
        assert registry("GET", "/v2/x/manifests/1")[2] == here.manifest
        assert registry("GET", f"/v2/x/manifests/{arm.digest}")[0] == 404
        pull(images, f"{server.host}/x:1", platform="linux/arm64")
        images.tag(f"{server.host}/x:1", "x:1")
    status, headers, found = registry("GET", "/v2/x/manifests/1")
    assert (status, headers["Content-Type"], found) == (200, INDEX, raw)
    assert registry("GET", f"/v2/x/manifests/{sha256(raw)}")[2] == raw
    for each in (here, arm, attestation):
        assert registry("GET", f"/v2/x/manifests/{each.digest}")[2] == each.manifest
        for blob in (each.config, *getattr(each, "blobs", ())):
            assert registry("GET", f"/v2/x/blobs/{sha256(blob)}")[2] == blob
            assert registry("GET", f"/v2/y/blobs/{sha256(blob)}")[0] == 404
    other = ImageStore(str(tmp_path / "other"), Ledger(str(tmp_path / "other.db")))
    pull(other, f"{registry.host}/x:1")
    assert other.ledger.query("SELECT * FROM attestations") != []
    other.close()
    other.ledger.close()


def test_images_made_here_get_a_manifest(images, registry, tmp_path):
    layer = tar(("hello", b"world"))

    async def body():
        yield layer

    image = asyncio.run(import_tar(images, body()))
    images.set_name(parse_normalized("made:1"), image)
    status, _, raw = registry("GET", "/v2/made/manifests/1")
    assert status == 200
    other = ImageStore(str(tmp_path / "other"), Ledger(str(tmp_path / "other.db")))
    pull(other, f"{registry.host}/made:1")
    assert other.resolve(f"{registry.host}/made:1").id == image.id
    other.close()
    other.ledger.close()


def test_what_both_have_is_one_file(images, registry):
    sample = Sample()
    with Registry() as server:
        server.add("x", "latest", sample)
        pull(images, f"{server.host}/x")
    digest = registry.push_blob("pushed", sample.blobs[0])
    ours = os.stat(os.path.join(registry.root, "blobs/sha256", hex_of(digest)))
    assert ours.st_ino == os.stat(images.blobs.path(digest)).st_ino


def test_mounting_an_engine_s_blob(images, registry):
    sample = Sample()
    with Registry() as server:
        server.add("x", "latest", sample)
        pull(images, f"{server.host}/x")
        images.tag(f"{server.host}/x", "x")
    digest = sha256(sample.blobs[0])
    assert registry("POST", f"/v2/new/blobs/uploads/?mount={digest}&from=x")[0] == 201
    images.blobs.delete(digest)
    assert registry("GET", f"/v2/new/blobs/{digest}")[2] == sample.blobs[0]


def test_not_an_engine_s_root(tmp_path):
    registries = Registries(tmp_path)
    with pytest.raises(NotFound, match="no engine's root"):
        registries.start(engine_root=str(tmp_path))


def test_the_ledger_is_only_read(images, registry):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        registry.registry._store.engine._ledger._db.execute("DELETE FROM names")
