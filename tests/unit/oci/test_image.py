import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.oci.image import (
    DOCKER_LIST,
    DOCKER_MANIFEST_V1,
    OCI_INDEX,
    OCI_MANIFEST,
    InvalidDocument,
    decode_config,
    decode_index,
    decode_manifest,
    kind_of,
)
from imagefiles import INDEX, MANIFEST, Sample, config


def test_config_of_a_real_image():
    """Members that older Dockers wrote, nulls where Go writes them, unknown ones ignored."""
    raw = json.dumps(
        {
            "architecture": "arm64",
            "variant": "v8",
            "os": "linux",
            "os.version": "10",
            "created": None,
            "container_config": {"Hostname": "x"},
            "config": {
                "Hostname": "x",
                "User": "1000:1000",
                "ExposedPorts": {"80/tcp": {}},
                "Env": None,
                "Cmd": ["a"],
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
                "OnBuild": None,
                "ArgsEscaped": True,
                "Labels": {"a": "b"},
            },
            "rootfs": {"type": "layers", "diff_ids": None},
            "history": [{"created_by": "x", "empty_layer": True}],
            "moby.buildkit.buildinfo.v1": "abc",
        }
    ).encode()
    document = decode_config(raw)
    assert str(document.platform) == "linux/arm64"
    assert (document.config.user, document.config.exposed_ports) == ("1000:1000", {"80/tcp": {}})
    assert document.config.healthcheck.interval == 10**9
    assert document.diff_ids == []
    assert document.os_version == "10"


def test_config_written_and_read_again():
    document = decode_config(Sample().config)
    assert decode_config(msgspec.json.encode(document)) == document


@pytest.mark.parametrize(
    ("raw", "served_as", "kind"),
    [
        (Sample().manifest, MANIFEST, OCI_MANIFEST),
        (Sample().manifest, "", OCI_MANIFEST),
        (Sample().manifest, "application/json", OCI_MANIFEST),
        (b'{"schemaVersion": 2, "manifests": []}', "", OCI_INDEX),
        (b'{"schemaVersion": 2, "manifests": []}', DOCKER_LIST, DOCKER_LIST),
        (b'{"schemaVersion": 2, "layers": []}', "", OCI_MANIFEST),
        (b'{"schemaVersion": 1, "fsLayers": []}', "application/json", DOCKER_MANIFEST_V1),
    ],
)
def test_kinds(raw, served_as, kind):
    assert kind_of(raw, served_as) == kind


@pytest.mark.parametrize(
    ("raw", "served_as"),
    [
        (Sample().manifest, INDEX),
        (b'{"mediaType": "application/vnd.oci.image.index.v1+json"}', MANIFEST),
        (b'{"layers": [], "manifests": []}', ""),
    ],
)
def test_ambiguous_kinds_are_refused(raw, served_as):
    with pytest.raises(InvalidDocument):
        kind_of(raw, served_as)


@pytest.mark.parametrize("change", [{"digest": "sha256:zz"}, {"size": -1}, {"size": "1"}, {"digest": None}])
def test_descriptors_are_checked(change):
    document = json.loads(Sample().manifest)
    document["layers"][0] |= change
    with pytest.raises(InvalidDocument):
        decode_manifest(json.dumps(document).encode())
    with pytest.raises(InvalidDocument):
        decode_index(json.dumps({"schemaVersion": 2, "manifests": [document["layers"][0]]}).encode())


def test_schema_1_is_refused():
    with pytest.raises(InvalidDocument, match="schema version 1"):
        decode_manifest(json.dumps({**json.loads(Sample().manifest), "schemaVersion": 1}).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rootfs", "config", "type", "diff_ids", "history", "layers", "Env", "os"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_read_or_refused(value):
    raw = json.dumps(value).encode()
    for read in (decode_config, decode_manifest, decode_index, lambda r: kind_of(r, "")):
        try:
            read(raw)
        except InvalidDocument:
            pass


def test_layers_of_a_config():
    layers = [b"one", b"two"]
    assert len(decode_config(config(*layers)).diff_ids) == 2
