"""Archives for `docker load` that lie about what they hold."""

import asyncio
import gzip
import json
import os

import pytest

from corten.errors import CortenError, InvalidParameter
from corten.images import ImageStore
from corten.images.load import load
from corten.metadata import Ledger
from corten.snapshots.decompress import Limits
from corten.snapshots.workers import WorkerPool
from imagefiles import (
    INDEX,
    MANIFEST,
    Sample,
    config,
    descriptor,
    docker_archive,
    hard_link,
    index,
    manifest,
    oci_layout,
    sha256,
    symlink,
    tar,
)

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool()
    yield pool
    pool.close()


@pytest.fixture
def attempt(tmp_path, workers):
    """attempt(archive) -> the error it gave; nothing may be left in the store."""
    ledger = Ledger(str(tmp_path / "meta.db"))
    store = ImageStore(str(tmp_path), ledger, workers=workers)

    async def run(data, limits):
        async def body():
            for i in range(0, len(data), 60_000):
                yield data[i : i + 60_000]

        return [line async for line in load(store, body(), limits=limits)]

    def attempt(data, limits=None):
        with pytest.raises(CortenError) as e:
            asyncio.run(run(data, limits))
        assert store.all() == []
        assert os.listdir(tmp_path / "tmp") == []
        store.collector.collect()
        assert ledger.query("SELECT * FROM layers") == []
        return e.value

    attempt.store = store
    yield attempt
    ledger.close()


def test_layer_is_not_the_one_of_the_config(attempt):
    s = Sample()
    evil = Sample(b"evil")
    assert isinstance(attempt(docker_archive((s.config, evil.layers, ["x:1"]))), InvalidParameter)


def test_blob_is_not_what_its_name_says(attempt):
    s = Sample()
    members = {
        "oci-layout": b"{}",
        "index.json": index(descriptor(s.manifest, MANIFEST)),
        f"blobs/sha256/{s.digest[7:]}": s.manifest,
        f"blobs/sha256/{s.id[7:]}": s.config + b" ",
    }
    assert "has the digest" in str(attempt(tar(*members.items())))


def test_names_that_point_out_of_the_archive(attempt):
    s = Sample()
    for path in ("../../../etc/passwd", "/etc/passwd", "a/../../b"):
        items = [{"Config": path, "RepoTags": ["x:1"], "Layers": []}]
        assert "no such file" in str(attempt(tar(("manifest.json", json.dumps(items).encode()))))
    attempt(tar(("../evil", b""), ("manifest.json", b"[]")))
    link = tar(symlink("c.json", "../../etc/passwd"), ("manifest.json", b'[{"Config":"c.json","Layers":[]}]'))
    attempt(link)
    attempt(tar(symlink("/c.json", "/etc/passwd"), ("manifest.json", b'[{"Config":"c.json","Layers":[]}]')))
    attempt(tar(hard_link("c.json", "etc/passwd"), ("manifest.json", b'[{"Config":"c.json","Layers":[]}]')))
    assert s.id


def test_links_in_a_circle(attempt):
    attempt(tar(symlink("a", "b"), symlink("b", "a"), ("manifest.json", b'[{"Config":"a","Layers":[]}]')))


def test_index_within_index_within_index(attempt):
    s = Sample()
    blobs = [s.manifest]
    entry = descriptor(s.manifest, MANIFEST, platform={"os": "linux", "architecture": "amd64"})
    for _ in range(10):
        blobs.append(index(entry))
        entry = descriptor(blobs[-1], INDEX, platform={"os": "linux", "architecture": "amd64"})
    data = oci_layout(*blobs, s.config, *s.blobs, manifests=[entry])
    assert "nested too deep" in str(attempt(data))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 200_000,
        b'{"rootfs":' * 5000,
        b"{}",
        b'{"rootfs": {"type": "layers", "diff_ids": ["sha256:xyz"]}}',
        b'{"rootfs": {"type": "layers", "diff_ids": [5]}}',
        b'{"rootfs": {"type": "magic", "diff_ids": []}}',
        b'{"rootfs": {"type": "layers"}, "config": "no"}',
        b'{"rootfs": {"type": "layers"}, "history": 5}',
        b" " * (9 << 20),
        json.dumps({"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * 1001}}).encode(),
        b"\xff\xfe{}",
    ],
)
def test_configs_that_are_none(attempt, raw):
    attempt(tar(("c.json", raw), ("manifest.json", b'[{"Config":"c.json","RepoTags":["x:1"],"Layers":[]}]')))


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[[]]", b"[" * 100_000, b'[{"Config": 5}]', b'[{"Layers": ["x"]}]', b"null"]
)
def test_manifest_json_that_is_none(attempt, raw):
    attempt(tar(("manifest.json", raw)))


@pytest.mark.parametrize("tag", ["x", "x:UPPER!", "../x:1", "x:1@sha256:" + "0" * 64, "", "X:1"])
def test_tags_that_are_none(attempt, tag):
    s = Sample()
    attempt(docker_archive((s.config, s.layers, [tag])))


def test_ten_thousand_layers(attempt):
    raw = config(*[b""] * 10_000)
    assert "max depth exceeded" in str(attempt(docker_archive((raw, [], ["x:1"]))))


def test_too_many_members(attempt):
    assert "more than 20000 members" in str(attempt(tar(*((f"m{i}", b"") for i in range(20_001)))))


def test_archive_that_is_a_bomb(attempt):
    bomb = gzip.compress(tar(("f", bytes(30 << 20))))
    assert "unpacks to more than" in str(attempt(bomb, Limits(max_bytes=10 << 20)))


def test_layer_that_escapes(attempt, tmp_path):
    layer = tar(("../../../evil", b"evil"))
    assert "leads outside" in str(attempt(docker_archive((config(layer), [layer], ["x:1"]))))
    assert not (tmp_path / "evil").exists()


def test_second_layer_bad_first_layer_gone(attempt):
    good, bad = tar(("f", b"x")), b"no tar at all" * 100
    attempt(docker_archive((config(good, bad), [good, bad], ["x:1"])))


def test_manifest_of_an_attestation_only(attempt):
    s = Sample()
    raw = manifest(b"{}", [])
    data = oci_layout(raw, b"{}", manifests=[descriptor(raw, MANIFEST)])
    attempt(data)
    assert sha256(s.config) == s.id


@pytest.mark.parametrize("cut", [100, 600, 5000, 9000])
def test_truncated(attempt, cut):
    s = Sample()
    data = docker_archive((s.config, s.layers, ["x:1"]))
    attempt(data[:cut])
    packed = gzip.compress(data)
    attempt(packed[: len(packed) // 2])


def test_client_that_goes_away(tmp_path, workers):
    ledger = Ledger(str(tmp_path / "meta.db"))
    store = ImageStore(str(tmp_path), ledger, workers=workers)
    s = Sample()
    data = docker_archive((s.config, s.layers, ["x:1"]))

    async def body():
        yield data[:4000]
        raise ConnectionResetError("client is gone")

    async def run():
        return [line async for line in load(store, body())]

    with pytest.raises(CortenError, match="client is gone"):
        asyncio.run(run())
    assert os.listdir(tmp_path / "tmp") == []
    ledger.close()
