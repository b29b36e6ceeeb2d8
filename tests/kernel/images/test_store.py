import pytest

from corten.errors import InvalidParameter, NoSuchImage
from corten.filters import Filters
from corten.images import documents
from corten.reference import InvalidReference
from imagefiles import Sample, config, docker_archive, sha256, tar


@pytest.fixture
def sample(images):
    s = Sample()
    images.load(docker_archive((s.config, s.layers, ["x:1"])))
    return s


def test_resolving(images, sample):
    for text in (
        "x:1",
        "docker.io/library/x:1",
        "docker.io/x:1",
        sample.id,
        sample.id[7:],
        sample.id[:20],
        sample.id[7:10],
    ):
        assert images.store.resolve(text).id == sample.id


@pytest.mark.parametrize("text", ["x", "y:1", "sha256:" + "0" * 64, "0" * 64, "zz", "x:1@sha256:" + "0" * 64])
def test_what_is_not_there(images, sample, text):
    with pytest.raises(NoSuchImage, match="^No such image: "):
        images.store.resolve(text)


@pytest.mark.parametrize("text", ["", "sha256:", "X!"])
def test_what_can_not_be_there(images, sample, text):
    with pytest.raises(InvalidReference, match="^invalid reference format"):
        images.store.resolve(text)


def test_message_shows_the_tag_that_was_meant(images):
    with pytest.raises(NoSuchImage, match="^No such image: a/b:latest$"):
        images.store.resolve("docker.io/a/b")


def test_names_win_over_prefixes_of_ids(images, sample):
    other = Sample(b"other")
    images.load(docker_archive((other.config, other.layers, None)))
    prefix = sample.id[7:19]
    images.store.tag(other.id, prefix)
    assert images.store.resolve(prefix).id == other.id


def test_ambiguous_prefix_is_nobody(images):
    found = {}
    number = 0
    while True:
        raw = config(created="2024-01-01T00:00:00Z", comment=str(number))
        number += 1
        first = sha256(raw)[7:9]
        if first in found:
            break
        found[first] = raw
    images.load(docker_archive((raw, [], None), (found[first], [], None)))
    with pytest.raises(NoSuchImage):
        images.store.resolve(first)


def test_tag_moves(images, sample):
    other = Sample(b"other")
    images.load(docker_archive((other.config, other.layers, ["y:1"])))
    images.store.tag("y:1", "x:1")
    assert images.store.resolve("x:1").id == other.id
    assert images.store.names(sample.id) == []
    assert images.events[-1] == ("tag", other.id, "x:1")
    with pytest.raises(InvalidReference):
        images.store.tag("y:1", "UPPER")
    with pytest.raises(NoSuchImage):
        images.store.tag("nothing", "x:3")
    with pytest.raises(InvalidReference, match="refusing to create a tag with a digest reference"):
        images.store.tag("y:1", "x@" + sample.id)


def test_a_tag_that_an_image_has_already_is_told_again_and_has_a_new_time(images, sample):
    images.store.tag("x:1", "y:1")
    before = images.store.resolve("x:1").tagged_ns
    count = len(images.events)
    images.store.tag("y:1", "x:1")
    assert images.events[count:] == [("tag", sample.id, "x:1")]
    assert images.store.resolve("x:1").tagged_ns > before
    assert [name.familiar for name in images.store.names(sample.id)] == ["x:1", "y:1"]


def test_inspect(images, sample):
    found = documents.inspect(images.store, "x:1")
    assert (found.id, found.repo_tags, found.repo_digests) == (sample.id, ["x:1"], [])
    assert (found.architecture, found.os, found.created) == ("amd64", "linux", "2024-01-02T03:04:05.678Z")
    assert found.config.cmd == ["sh"]
    assert found.root_fs.layers == [sha256(layer) for layer in sample.layers]
    assert found.size == 5000 + 5 + 9
    assert found.graph_driver.data["UpperDir"] == images.store.lower_dirs("x:1")[0]
    assert found.metadata.last_tag_time.startswith("20")


def test_history(images):
    layer = tar(("f", b"12345"))
    raw = config(
        layer,
        history=[
            {"created": "2024-01-01T00:00:00Z", "created_by": "ADD f"},
            {"created": "2024-01-01T00:00:01Z", "created_by": "CMD", "comment": "c", "empty_layer": True},
        ],
    )
    images.load(docker_archive((raw, [layer], ["h:1"])))
    newest, oldest = documents.history(images.store, "h:1")
    assert (newest.id, newest.tags, newest.created_by, newest.comment, newest.size) == (
        sha256(raw),
        ["h:1"],
        "CMD",
        "c",
        0,
    )
    assert (oldest.id, oldest.tags, oldest.size, oldest.created) == ("<missing>", None, 5, 1704067200)


def listed(images, **options):
    return [s.repo_tags for s in documents.summaries(images.store, **options)]


def test_list_and_its_filters(images):
    old, new = (
        config(created="2020-01-01T00:00:00Z"),
        config(created="2024-01-01T00:00:00Z", config={"Labels": {"a": "b"}}),
    )
    nameless = config(created="2022-01-01T00:00:00Z")
    images.load(
        docker_archive((old, [], ["old:1", "team/old:2"]), (new, [], ["new:1"]), (nameless, [], None))
    )
    assert listed(images) == [["new:1"], [], ["old:1", "team/old:2"]]

    def by(**filters):
        return listed(images, filters=Filters(filters))

    assert by(dangling=["true"]) == [[]]
    assert by(dangling=["false"]) == [["new:1"], ["old:1", "team/old:2"]]
    assert by(label=["a"]) == by(label=["a=b"]) == [["new:1"]]
    assert by(label=["a=c"]) == []
    assert by(before=["new:1"]) == [[], ["old:1", "team/old:2"]]
    assert by(since=["old:1"]) == [["new:1"], []]
    assert by(until=["2021-01-01"]) == [["old:1", "team/old:2"]]
    assert by(reference=["old"]) == [["old:1"]]
    assert by(reference=["*/old:2"]) == [["team/old:2"]]
    assert by(reference=["*:1"]) == [["new:1"], ["old:1"]]
    with pytest.raises(InvalidParameter, match="invalid filter 'colour'"):
        by(colour=["red"])


def test_shared_sizes_and_containers(images, sample):
    raw = config(sample.layers[0])
    images.load(docker_archive((raw, [sample.layers[0]], ["base:1"])))
    images.container("c" * 64, sample.id)
    found = {
        s.repo_tags[0]: (s.shared_size, s.containers)
        for s in documents.summaries(images.store, shared_size=True, count_containers=True)
    }
    assert found == {"x:1": (5005, 1), "base:1": (5005, 0)}
