"""Images for several platforms: the index of a name is kept, its images are found by platform."""

import json

import pytest

from corten.errors import Conflict, NotFound
from corten.filters import Filters
from corten.images import documents
from corten.images.removal import Remover
from corten.images.save import read_pieces, save
from corten.platforms import parse_platform
from imagefiles import INDEX, Sample, config, descriptor, manifest, oci_layout, sha256
from registry_server import Registry

AMD = parse_platform("linux/amd64")
ARM = parse_platform("linux/arm64")


class ForArm(Sample):
    """The same kind of image for another processor."""

    def __init__(self):
        super().__init__(b"arm")
        document = json.loads(config(*self.layers))
        self.config = json.dumps({**document, "architecture": "arm64"}).encode()
        self.id = sha256(self.config)
        self.manifest = manifest(self.config, self.blobs)
        self.digest = sha256(self.manifest)


@pytest.fixture
def registry():
    with Registry() as registry:
        registry.index = registry.add_index("x", "1", {"linux/amd64": Sample(), "linux/arm64": ForArm()})
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
    assert images.store.variant(name, ARM).id == ForArm().id
    with pytest.raises(NotFound, match=r"does not match the specified platform: wanted linux/s390x, actual"):
        images.store.variant(name, parse_platform("linux/s390x"))
    assert documents.inspect(images.store, name, ARM).architecture == "arm64"
    assert documents.history(images.store, name, ARM)[0].id == ForArm().id


def test_what_was_pulled_last_is_what_the_name_means(images, registry, name):
    images.pull(name, platform="linux/arm64")
    assert images.store.resolve(name).id == ForArm().id
    assert images.store.variant(name, AMD).id == Sample().id


def test_listing(images, registry, name):
    assert listed(images) == [([name], Sample().id)]
    assert listed(images, filters=Filters({"dangling": ("true",)})) == []
    assert sorted(listed(images, show_all=True)) == sorted([([name], Sample().id), ([], ForArm().id)])
    (summary,) = documents.summaries(images.store, manifests=True)
    assert summary.descriptor.media_type == INDEX
    assert [(m.id, m.available, m.kind, m.image_data.platform.architecture) for m in summary.manifests] == [
        (Sample().digest, True, "image", "amd64"),
        (ForArm().digest, True, "image", "arm64"),
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
    assert images.store.variant(f"{registry.host}/y:2", ARM).id == ForArm().id
    gone = images.remove(f"{registry.host}/y:2")
    assert {Sample().id, ForArm().id} <= set(gone)
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
        assert other.manifests["z", ForArm().digest] == ForArm().manifest
        assert other.manifests["z", Sample().digest] == Sample().manifest
        assert lines[-1].aux["Size"] == len(registry.index)


def test_push_of_one_platform(images, registry, name):
    with Registry() as other:
        images.store.tag(name, f"{other.host}/z:1")
        images.push(f"{other.host}/z:1", platform=ARM)
        assert other.manifests["z", "1"] == ForArm().manifest
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
    archive = b"".join(images.lines(read_pieces(save(images.store, [name], [ARM]))))
    other = new_store()
    other.load(archive)
    assert other.store.resolve(name).id == ForArm().id


def archive_of_both(index):
    samples = (Sample(), ForArm())
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
    assert images.store.resolve("x:1").id == ForArm().id
    assert images.store.variant("x:1", AMD).id == Sample().id
    assert listed(images) == [(["x:1"], ForArm().id)]
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
    assert images.store.resolve(name).id == ForArm().id
    assert images.store.indexes.of(images.store.names(ForArm().id)[0]).raw == registry.index
    assert [image.id for image in images.store.all()] == [ForArm().id]
    remover.remove_platforms(name, [ARM])
    assert images.store.all() == []


def test_a_platform_that_a_container_uses_stays(images, registry, name):
    remover = Remover(images.store, images.store.collector)
    images.container("c" * 64, ForArm().id, "running")
    with pytest.raises(Conflict, match="image is being used by running container"):
        remover.remove_platforms(name, [ARM], force=True)
    remover.remove_platforms(name, [AMD])
    assert images.store.resolve(name).id == ForArm().id


def test_save_and_load_of_several_platforms(images, registry, name, new_store):
    archive = b"".join(images.lines(read_pieces(save(images.store, [name], [AMD, ARM]))))
    assert archive == b"".join(images.lines(read_pieces(save(images.store, [name], [AMD, ARM]))))
    other = new_store()
    other.load(archive, platforms=[AMD, ARM])
    assert other.store.resolve(name).id == Sample().id
    assert other.store.variant(name, ARM).id == ForArm().id
    (tag,) = other.store.names(Sample().id)
    assert other.store.indexes.of(tag).raw == registry.index
    hosts = new_store()
    hosts.load(archive)
    assert [image.id for image in hosts.store.all()] == [Sample().id]
