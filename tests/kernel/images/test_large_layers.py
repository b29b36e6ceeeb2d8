"""Layers large enough to be unpacked while their archive still comes."""

import gzip
import json
import os
import random
from pathlib import Path

import pytest

from corten.errors import InvalidParameter
from imagefiles import MANIFEST, Sample, descriptor, docker_archive, manifest, oci_layout, sha256, tar

CONTENT = random.Random(3).randbytes(3 << 20)


@pytest.fixture(params=["extract", "erofs"])
def images(new_store, request):
    return new_store(form=request.param)


@pytest.fixture(scope="module")
def sample():
    return Sample(CONTENT)


def layout(sample, pack):
    blobs = [pack(layer) for layer in sample.layers]
    raw = manifest(sample.config, blobs)
    return oci_layout(sample.config, raw, *blobs, manifests=[descriptor(raw, MANIFEST)])


@pytest.mark.parametrize("pack", [gzip.compress, lambda layer: layer], ids=["gzip", "raw"])
def test_loaded_and_saved_again_byte_for_byte(images, new_store, sample, pack):
    images.load(layout(sample, pack), chunk=32 << 10)
    again = new_store()
    saved = images.save(sample.id)
    again.load(saved)
    assert again.save(sample.id) == saved
    image = again.store.resolve(sample.id)
    (directory, *_) = again.store.lower_dirs(image)[-1:]
    assert CONTENT in {path.read_bytes() for path in Path(directory).rglob("*") if path.is_file()}
    assert images.save(sample.id) == saved


def test_a_raw_layer_is_kept_once(new_store, sample):
    images = new_store(form="erofs")
    images.load(docker_archive((sample.config, sample.layers, ["x:1"])))
    for layer, content in zip(images.store.resolve("x:1").layers, sample.layers, strict=True):
        assert layer.blob is None
        assert Path(images.store.layers.tar(layer.diff_id)).read_bytes() == content
    assert list(images.store.blobs) == []


def test_what_only_looks_like_a_layer_is_dropped(images, sample):
    stranger = gzip.compress(tar(("stranger", CONTENT[::-1])))
    blobs = [gzip.compress(layer) for layer in sample.layers]
    raw = manifest(sample.config, blobs)
    images.load(oci_layout(stranger, sample.config, raw, *blobs, manifests=[descriptor(raw, MANIFEST)]))
    assert {str(digest) for digest in images.store.blobs} == {sha256(blob) for blob in blobs}
    # the fixture looks for what is left


def test_layers_that_are_not_what_the_image_says(images, sample):
    config = json.loads(sample.config)
    config["rootfs"]["diff_ids"] = config["rootfs"]["diff_ids"][::-1]
    wrong = json.dumps(config).encode()
    with pytest.raises(InvalidParameter, match="invalid diffID for layer"):
        images.load(docker_archive((wrong, sample.layers, None)))
    assert images.store.all() == []


def test_an_archive_that_ends_in_a_layer(images, sample):
    data = layout(sample, gzip.compress)
    with pytest.raises(Exception, match="unexpected EOF"):
        images.load(data[: len(data) // 2])
    assert [name for name in os.listdir(os.path.join(images.root, "tmp")) if "layer" in name] == []
