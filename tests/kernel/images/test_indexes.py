"""Images for several platforms: the index of a name is kept, its images are found by platform."""

import pytest

from corten.errors import Conflict, NotFound
from corten.filters import Filters
from corten.images import documents
from corten.images.removal import Remover
from corten.platforms import parse_platform
from corten.reference import parse_normalized
from imagefiles import INDEX, Sample, descriptor, docker_archive, oci_layout
from registry_server import Registry

AMD = parse_platform("linux/amd64")
ARM = parse_platform("linux/arm64")


def for_arm(text=b"arm"):
    """The same kind of image for another processor."""
    return Sample(text, architecture="arm64")


@pytest.fixture
def registry():
    with Registry() as registry:
        registry.index = registry.add_index("x", "1", {"linux/amd64": Sample(), "linux/arm64": for_arm()})
        yield registry


@pytest.fixture
def name(images, registry):
    name = f"{registry.host}/x:1"
    images.pull(name, platform="linux/arm64")
    images.pull(name, platform="linux/amd64")
    return name


def listed(images, **options):
    return [(s.repo_tags, s.id) for s in documents.summaries(images.store, **options)]


def test_the_index_is_kept(images, registry, name):
    kept = images.store.indexes.of(images.store.names(Sample().id)[0])
    assert kept.raw == registry.index
    assert images.store.resolve(name).id == Sample().id
    assert images.store.variant(name, AMD).id == Sample().id
    assert images.store.variant(name, ARM).id == for_arm().id
    with pytest.raises(NotFound, match=r"does not match the specified platform: wanted linux/s390x, actual"):
        images.store.variant(name, parse_platform("linux/s390x"))
    assert documents.inspect(images.store, name, ARM).architecture == "arm64"
    assert documents.history(images.store, name, ARM)[0].id == for_arm().id


def test_what_was_pulled_last_is_what_the_name_means(images, registry, name):
    images.pull(name, platform="linux/arm64")
    assert images.store.resolve(name).id == for_arm().id
    assert images.store.variant(name, AMD).id == Sample().id


def test_listing(images, registry, name):
    assert listed(images) == [([name], Sample().id)]
    assert listed(images, filters=Filters({"dangling": ("true",)})) == []
    assert sorted(listed(images, show_all=True)) == sorted([([name], Sample().id), ([], for_arm().id)])
    (summary,) = documents.summaries(images.store, manifests=True)
    assert summary.descriptor.media_type == INDEX
    assert [(m.id, m.available, m.kind, m.image_data.platform.architecture) for m in summary.manifests] == [
        (Sample().digest, True, "image", "amd64"),
        (for_arm().digest, True, "image", "arm64"),
    ]
    assert all(m.size.total > m.size.content > 0 for m in summary.manifests)


def test_only_what_was_pulled_is_available(images, registry):
    images.pull(f"{registry.host}/x:1")
    (summary,) = documents.summaries(images.store, manifests=True)
    assert [m.available for m in summary.manifests] == [True, False]


def test_prune_leaves_variants_and_removal_takes_them(images, registry, name):
    remover = Remover(images.store, images.store.collector)
    assert remover.prune().images_deleted is None
    images.store.tag(name, f"{registry.host}/y:2")
    images.remove(name)
    assert images.store.variant(f"{registry.host}/y:2", ARM).id == for_arm().id
    gone = images.remove(f"{registry.host}/y:2")
    assert {Sample().id, for_arm().id} <= set(gone)
    assert images.store.all() == []
    assert images.ledger.query("SELECT * FROM indexes") == []


def test_a_name_that_moves_lets_its_index_go(images, registry, name):
    registry.add("x", "1", Sample(b"newer"))
    images.pull(name)
    assert images.store.indexes.of(images.store.names(Sample(b"newer").id)[0]) is None
    assert len(listed(images, filters=Filters({"dangling": ("true",)}))) == 1
    Remover(images.store, images.store.collector).prune()
    assert [image.id for image in images.store.all()] == [Sample(b"newer").id]


def test_push_of_the_whole_index(images, registry, name):
    with Registry() as other:
        target = f"{other.host}/z:1"
        images.store.tag(name, target)
        lines = images.push(target)
        assert other.manifests["z", "1"] == registry.index
        assert other.manifests["z", for_arm().digest] == for_arm().manifest
        assert other.manifests["z", Sample().digest] == Sample().manifest
        assert lines[-1].aux["Size"] == len(registry.index)


def test_push_of_one_platform(images, registry, name):
    with Registry() as other:
        images.store.tag(name, f"{other.host}/z:1")
        images.push(f"{other.host}/z:1", platform=ARM)
        assert other.manifests["z", "1"] == for_arm().manifest
        assert ("z", Sample().digest) not in other.manifests


def test_push_of_what_is_here_in_part(images, registry):
    images.pull(f"{registry.host}/x:1")
    with Registry() as other:
        images.store.tag(f"{registry.host}/x:1", f"{other.host}/z:1")
        images.push(f"{other.host}/z:1")
        assert other.manifests["z", "1"] == Sample().manifest
    registry.manifests.pop(("x", "1"))
    images.push(f"{registry.host}/x:1")  # the other manifest is there already
    assert registry.manifests["x", "1"] == registry.index


def test_save_and_load_of_one_platform(images, registry, name, new_store):
    archive = images.save(name, platforms=[ARM])
    other = new_store()
    other.load(archive)
    assert other.store.resolve(name).id == for_arm().id


def archive_of_both(index):
    samples = (Sample(), for_arm())
    return oci_layout(
        *(blob for s in samples for blob in (s.config, *s.blobs, s.manifest)),
        index,
        manifests=[
            descriptor(index, INDEX, annotations={"io.containerd.image.name": "docker.io/library/x:1"})
        ],
    )


def test_load_of_several_platforms(images, registry):
    lines = images.load(archive_of_both(registry.index), platforms=[ARM, AMD])
    assert [line.stream for line in lines if line.stream] == ["Loaded image: x:1\n"]
    assert images.store.resolve("x:1").id == for_arm().id
    assert images.store.variant("x:1", AMD).id == Sample().id
    assert listed(images) == [(["x:1"], for_arm().id)]
    with pytest.raises(NotFound, match="no image for platform linux/s390x in the archive"):
        images.load(archive_of_both(registry.index), platforms=[AMD, parse_platform("linux/s390x")])
    images.remove("x:1")
    assert images.store.all() == []


def test_load_takes_the_hosts_by_itself(images, registry):
    images.load(archive_of_both(registry.index))
    assert [image.id for image in images.store.all()] == [Sample().id]
    assert images.store.indexes.of(images.store.names(Sample().id)[0]).raw == registry.index


def test_removing_one_platform(images, registry, name):
    remover = Remover(images.store, images.store.collector)
    with pytest.raises(NotFound, match="does not match the specified platform"):
        remover.remove_platforms(name, [parse_platform("linux/s390x")])
    gone = remover.remove_platforms(name, [AMD])
    assert Sample().id in [item.deleted for item in gone]
    assert images.store.resolve(name).id == for_arm().id
    assert images.store.indexes.of(images.store.names(for_arm().id)[0]).raw == registry.index
    assert [image.id for image in images.store.all()] == [for_arm().id]
    remover.remove_platforms(name, [ARM])
    assert images.store.all() == []


def test_a_platform_that_a_container_uses_stays(images, registry, name):
    remover = Remover(images.store, images.store.collector)
    images.container("c" * 64, for_arm().id, "running")
    with pytest.raises(Conflict, match="image is being used by running container"):
        remover.remove_platforms(name, [ARM], force=True)
    remover.remove_platforms(name, [AMD])
    assert images.store.resolve(name).id == for_arm().id


def test_save_and_load_of_several_platforms(images, registry, name, new_store):
    archive = images.save(name, platforms=[AMD, ARM])
    assert archive == images.save(name, platforms=[AMD, ARM])
    other = new_store()
    other.load(archive, platforms=[AMD, ARM])
    assert other.store.resolve(name).id == Sample().id
    assert other.store.variant(name, ARM).id == for_arm().id
    (tag,) = other.store.names(Sample().id)
    assert other.store.indexes.of(tag).raw == registry.index
    hosts = new_store()
    hosts.load(archive)
    assert [image.id for image in hosts.store.all()] == [Sample().id]


def test_several_names_of_several_platforms_in_one_archive(images, registry, name, new_store):
    """Two images that share a name's index, a third of its own and one without any, in every order."""
    others = {"linux/amd64": Sample(b"y"), "linux/arm64": for_arm(b"y arm")}
    index = registry.add_index("y", "1", others)
    for platform in others:
        images.pull(f"{registry.host}/y:1", platform=platform)
    images.store.tag(name, "same:1")
    plain = Sample(b"plain")
    images.load(docker_archive((plain.config, plain.layers, ["plain:1", "plain:2"])))
    names = [name, "same:1", f"{registry.host}/y:1", "plain:1", "plain:2"]
    for order in (names, names[::-1]):
        other = new_store()
        other.load(images.save(*order))
        for each in names:
            assert other.store.resolve(each).id == images.store.resolve(each).id
    both = new_store()
    both.load(images.save(*names[:3], platforms=[AMD, ARM]), platforms=[AMD, ARM])
    for each, raw, here, arm in (
        (name, registry.index, Sample(), for_arm()),
        ("same:1", registry.index, Sample(), for_arm()),
        (f"{registry.host}/y:1", index, *others.values()),
    ):
        assert both.store.indexes.of(parse_normalized(each)).raw == raw
        assert [both.store.variant(each, platform).id for platform in (AMD, ARM)] == [here.id, arm.id]
    with pytest.raises(NotFound, match="plain"):
        images.save(*names, platforms=[ARM])


def test_a_name_that_is_given_to_its_own_image_stands_for_no_index_any_more(images, registry, name):
    """As by a build whose result has been pulled with this name."""
    tag = parse_normalized(name)
    assert images.store.indexes.of(tag) is not None
    images.store.set_name(tag, images.store.resolve(name))
    assert images.store.indexes.of(tag) is None
    assert images.store.resolve(name).id == Sample().id
