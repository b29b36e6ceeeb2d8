# ruff: noqa: E501
import pytest

from corten.api import versions
from corten.api.versions import add, copy, drop
from corten.types.container import BindOptions, CreateRequest, HostConfig, Mount
from corten.types.image import ImageSummary
from corten.types.system import DiskUsage


def test_edits_follow_paths_through_maps_and_lists():
    document = {"A": {"x": {"B": 1}, "y": {"B": 2, "C": 3}}, "L": [{"B": 1}, {}], "N": None}
    drop("A.*.B")(document)
    drop("L.*.B")(document)
    drop("N.*.B")(document)
    drop("missing.B")(document)
    add("A.*.C", 0)(document)
    copy("L", "M")(document)
    assert document == {"A": {"x": {"C": 0}, "y": {"C": 3}}, "L": [{}, {}], "N": None, "M": [{}, {}]}


def test_the_newest_client_is_touched_by_no_row():
    assert all(before <= versions.MAX_VERSION for _, before, _ in versions.ANSWERS)


@pytest.mark.parametrize("text", ["", "1", "1.", "1.x", "1.41.0", "-1.41", "1." + "4" * 50, "\u0661.41"])
def test_malformed_versions(text):
    with pytest.raises(versions.InvalidParameter):
        versions.parse_version(text)


def test_nested_documents_are_adapted():
    summary = ImageSummary(
        containers=-1, created=0, id="x", labels=None, parent_id="", repo_digests=[], repo_tags=[], shared_size=-1, size=7
    )  # fmt: skip
    usage = DiskUsage(images=[summary])
    assert b"VirtualSize" in versions.encode(usage, (1, 43))
    assert b"VirtualSize" not in versions.encode(usage, (1, 44))
    assert versions.encode_all([], (1, 24)) == b"[]"


def test_options_that_older_clients_could_not_mean():
    def adapted(version):
        host = HostConfig(
            pids_limit=5, annotations={"a": "b"}, kernel_memory=1,
            mounts=[Mount(type="bind", bind_options=BindOptions(read_only_force_recursive=True))],
        )  # fmt: skip
        request = CreateRequest(host_config=host)
        versions.adapt_create(request, version)
        return host

    assert adapted((1, 39)).pids_limit is None
    assert adapted((1, 39)).ipc_mode == "shareable"
    assert adapted((1, 40)).pids_limit == 5
    assert adapted((1, 41)).kernel_memory == 1
    assert adapted((1, 42)).kernel_memory == 0
    assert adapted((1, 43)).annotations == {"a": "b"}
    assert not adapted((1, 43)).mounts[0].bind_options.read_only_force_recursive
    assert adapted((1, 44)).mounts[0].bind_options.read_only_force_recursive
