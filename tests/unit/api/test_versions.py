# ruff: noqa: E501
import json

import pytest

from corten.api import versions
from corten.api.versions import add, copy, drop
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


def test_what_images_were_called():
    summary = ImageSummary(
        containers=3, created=0, id="x", labels=None, parent_id="", repo_digests=[], repo_tags=[], shared_size=-1, size=7
    )  # fmt: skip

    def seen(version):
        return json.loads(versions.encode(summary, version))

    assert seen((1, 42))["RepoTags"] == ["<none>:<none>"]
    assert (seen((1, 43))["RepoTags"], seen((1, 43))["RepoDigests"]) == ([], [])
    assert (seen((1, 50))["Containers"], seen((1, 51))["Containers"]) == (-1, 3)
