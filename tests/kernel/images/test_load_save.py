import gzip
import json
import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from backports import zstd

from corten.errors import InvalidParameter, NoSuchImage
from corten.images import ImageLayer
from corten.platforms import Platform
from imagefiles import (
    LAYER,
    MANIFEST,
    Sample,
    config,
    descriptor,
    docker_archive,
    index,
    manifest,
    oci_layout,
    sha256,
    symlink,
    tar,
)


def streams(lines):
    return [line.stream for line in lines if line.stream]


def test_docker_archive(images):
    s = Sample()
    lines = images.load(docker_archive((s.config, s.layers, ["x:1", "reg.example:5000/y:2"])))
    assert streams(lines) == ["Loaded image: x:1\n", "Loaded image: reg.example:5000/y:2\n"]
    image = images.store.resolve("x:1")
    assert image.id == s.id
    assert image.diff_ids == tuple(sha256(layer) for layer in s.layers)
    upper, lower = images.store.lower_dirs(image)
    assert sorted(os.listdir(upper)) == ["etc", "new"]
    assert Path(lower, "etc/motd").read_text() == "hello"
    assert images.events == [
        ("load", s.id, s.id),
        ("tag", s.id, "x:1"),
        ("tag", s.id, "reg.example:5000/y:2"),
    ]
    totals = {line.progress_detail.total for line in lines if line.status == "Loading layer"}
    assert totals == {len(layer) for layer in s.layers}


def test_without_a_name(images):
    s = Sample()
    assert streams(images.load(docker_archive((s.config, s.layers, None)), quiet=True)) == [
        f"Loaded image ID: {s.id}\n"
    ]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, lambda d: d])
@pytest.mark.parametrize("pack_layer", [gzip.compress, zstd.compress, lambda d: d])
def test_compressed_archives_and_layers(images, pack, pack_layer):
    s = Sample()
    blobs = [pack_layer(layer) for layer in s.layers]
    raw = manifest(s.config, blobs)
    data = oci_layout(s.config, raw, *blobs, manifests=[descriptor(raw, MANIFEST)])
    assert streams(images.load(pack(data), chunk=777)) == [f"Loaded image ID: {s.id}\n"]
    assert [layer.blob for layer in images.store.resolve(s.id).layers] == [sha256(b) for b in blobs]


def test_index_of_platforms(images):
    here, there = Sample(), Sample(b"arm")
    inner = index(
        descriptor(there.manifest, MANIFEST, platform={"os": "linux", "architecture": "s390x"}),
        descriptor(here.manifest, MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        descriptor(b"attestation", MANIFEST, platform={"os": "unknown", "architecture": "unknown"}),
    )
    outer = descriptor(
        inner,
        "application/vnd.oci.image.index.v1+json",
        annotations={"io.containerd.image.name": "docker.io/library/multi:7"},
    )
    data = oci_layout(
        inner,
        here.config,
        here.manifest,
        *here.blobs,
        there.config,
        there.manifest,
        *there.blobs,
        manifests=[outer],
    )
    assert streams(images.load(data)) == ["Loaded image: multi:7\n"]
    assert images.store.resolve("multi:7").id == here.id
    images.load(data, platforms=[Platform("linux", "s390x")])
    assert images.store.resolve("multi:7").id == there.id


def test_links_in_old_archives(images):
    layer = tar(("f", b"1"))
    raw = config(layer, layer)
    data = tar(
        ("a/layer.tar", layer),
        symlink("b/layer.tar", "../a/layer.tar"),
        ("c.json", raw),
        (
            "manifest.json",
            json.dumps(
                [{"Config": "c.json", "RepoTags": ["l:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
            ).encode(),
        ),
    )
    images.load(data)
    assert len(images.store.resolve("l:1").layers) == 2
    assert len(images.store.lower_dirs("l:1")) == 1  # overlayfs takes no directory twice


def test_saved_images_load_again_byte_for_byte(images, new_store):
    s, other = Sample(), Sample(b"other")
    images.load(docker_archive((s.config, s.layers, ["x:1", "x:2"]), (other.config, other.layers, ["y:1"])))
    data = images.save("x:1", "y:1", other.id)
    assert data == images.save("x:1", "y:1", other.id)
    second = new_store()
    assert streams(second.load(data)) == ["Loaded image: x:1\n", "Loaded image: y:1\n"]
    assert second.store.resolve("x:1").id == s.id
    assert second.save("x:1", "y:1") == data
    assert ("save", s.id, s.id) in images.events


def test_saved_archive_has_both_tables(images):
    s = Sample()
    images.load(docker_archive((s.config, s.layers, ["x:1", "x:2"])))
    with tarfile.open(fileobj=BytesIO(images.save("x"))) as t:
        item = json.load(t.extractfile("manifest.json"))[0]
        assert item["RepoTags"] == ["x:1", "x:2"]
        assert sha256(t.extractfile(item["Config"]).read()) == s.id
        assert [sha256(t.extractfile(p).read()) for p in item["Layers"]] == [
            sha256(layer) for layer in s.layers
        ]
        entries = json.load(t.extractfile("index.json"))["manifests"]
        assert [e["annotations"]["io.containerd.image.name"] for e in entries] == [
            "docker.io/library/x:1",
            "docker.io/library/x:2",
        ]
        raw = t.extractfile("blobs/sha256/" + entries[0]["digest"][7:]).read()
        assert sha256(raw) == entries[0]["digest"]
        assert json.load(t.extractfile("repositories")) == {
            "x": {"1": sha256(s.layers[-1])[7:], "2": sha256(s.layers[-1])[7:]}
        }


def test_layers_without_a_blob_are_written_anew(images, new_store):
    """Imported and committed layers exist as directories only."""
    image = images.imported(tar(("bin/x", b"program")))
    data = images.save(image.id)
    second = new_store()
    second.load(data)
    assert second.store.resolve(image.id).diff_ids == image.diff_ids


def test_a_layer_that_came_twice_is_saved_as_it_came_first(images, new_store):
    """The second image's own compressed layer was never needed; its manifest no longer fits."""
    s = Sample()
    images.load(docker_archive((s.config, s.layers, ["first:1"])))
    raw = config(*s.layers, comment="second")
    packed = [gzip.compress(layer, 1, mtime=1) for layer in s.layers]
    images.store.create(
        raw,
        [ImageLayer(diff_id=sha256(layer)) for layer in s.layers],
        raw_manifest=manifest(raw, packed),
    )
    second = new_store()
    second.load(images.save(sha256(raw)))
    assert second.store.resolve(sha256(raw)).diff_ids == images.store.resolve("first:1").diff_ids


def test_save_of_what_is_not_there(images):
    with pytest.raises(NoSuchImage, match="No such image: nothing$"):
        images.save("nothing")


def test_gnu_tar_reads_what_save_writes(images):
    s = Sample()
    images.load(docker_archive((s.config, s.layers, ["x:1"])))
    listing = subprocess.run(
        ["tar", "-tf", "-"], input=images.save("x:1"), capture_output=True, check=True
    ).stdout
    assert b"oci-layout" in listing


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "/repositories: no such file or directory"),
        (tar(("x", b"")), "/repositories: no such file or directory"),
        (docker_archive((Sample().config, Sample().layers, ["x:1"]))[:3000], "unexpected EOF"),
        (docker_archive((config(b"other layer"), [tar(("f", b""))], ["x:1"])), "invalid diffID for layer"),
        (
            docker_archive((Sample().config, Sample().layers[:1], ["x:1"])),
            "invalid manifest, layers length mismatch: expected 2, got 1",
        ),
        (docker_archive((b"{", [], ["x:1"])), "invalid image config"),
        (docker_archive((config(), [], ["X:1"])), "must be lowercase"),
        (
            tar(("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]')),
            "open ../../etc/passwd: no such file or directory",
        ),
    ],
)
def test_bad_archives_are_refused(images, data, message):
    with pytest.raises(InvalidParameter, match=message):
        images.load(data)
    assert images.store.all() == []


def test_wrong_digest_in_a_layout(images):
    s = Sample()
    members = {
        "oci-layout": b"{}",
        "index.json": index(descriptor(s.manifest, MANIFEST)),
        f"blobs/sha256/{s.digest[7:]}": s.manifest + b" ",
    }
    with pytest.raises(InvalidParameter, match="has the digest"):
        images.load(tar(*members.items()))


def test_image_without_layers(images):
    raw = config()
    images.load(docker_archive((raw, [], ["scratch-like:1"])))
    [lower] = images.store.lower_dirs("scratch-like:1")
    assert os.listdir(lower) == []


def test_layer_media_type_is_kept(images):
    s = Sample()
    data = oci_layout(s.config, s.manifest, *s.blobs, manifests=[descriptor(s.manifest, MANIFEST)])
    images.load(data)
    assert {layer.media_type for layer in images.store.resolve(s.id).layers} == {LAYER + "+gzip"}
    assert images.store.resolve(s.id).manifest_digest == s.digest
