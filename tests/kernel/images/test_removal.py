import os
import time

import pytest

from corten.errors import Conflict, NoSuchImage
from corten.filters import Filters
from corten.images.image import chain_ids
from corten.images.removal import Remover
from imagefiles import Sample, config, docker_archive, sha256, tar


@pytest.fixture
def sample(images):
    s = Sample()
    images.load(docker_archive((s.config, s.layers, ["x:1", "x:2"])))
    return s


def wait_until_empty(directory):
    deadline = time.monotonic() + 20
    while os.listdir(directory) and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.listdir(directory)


def chain(s):
    return chain_ids([sha256(layer) for layer in s.layers])[::-1]


def test_names_go_first_then_the_image(images, sample):
    assert images.remove("x:1") == ["x:1"]
    assert images.store.resolve("x:2").id == sample.id
    assert images.remove("x:2") == ["x:2", sample.id, *chain(sample)]
    assert images.store.all() == []
    images.check()
    assert wait_until_empty(images.store.tmp) == []
    assert os.listdir(os.path.join(images.root, "layers")) == ["empty"]
    assert images.events[-1] == ("delete", sample.id, sample.id)


def test_an_id_with_several_names_needs_force(images, sample):
    with pytest.raises(Conflict) as e:
        images.remove(sample.id[7:19])
    assert str(e.value) == (
        f"conflict: unable to delete {sample.id[7:19]} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert images.remove(sample.id, force=True) == ["x:1", "x:2", sample.id, *chain(sample)]


def test_an_id_with_one_name_takes_it_along(images, sample):
    images.remove("x:2")
    assert images.remove(sample.id[7:15]) == ["x:1", sample.id, *chain(sample)]


def test_shared_layers_stay(images, sample):
    extra = tar(("more", b""))
    child = config(*sample.layers, extra)
    images.load(docker_archive((child, [*sample.layers, extra], ["child:1"])))
    assert images.remove("child:1") == [
        "child:1",
        sha256(child),
        chain_ids([sha256(layer) for layer in (*sample.layers, extra)])[-1],
    ]
    assert len(images.store.lower_dirs("x:1")) == 2


def test_images_in_use(images, sample):
    images.container("c" * 64, sample.id, "running")
    images.remove("x:2")
    with pytest.raises(Conflict) as e:
        images.remove("x:1")
    assert str(e.value) == (
        f'conflict: unable to remove repository reference "x:1" (must force) - container {"c" * 12} '
        f"is using its referenced image {sample.id[7:19]}"
    )
    with pytest.raises(Conflict) as e:
        images.remove(sample.id, force=True)
    assert str(e.value) == (
        f"conflict: unable to delete {sample.id[7:19]} (cannot be forced) - "
        f"image is being used by running container {'c' * 12}"
    )
    # By name and with force only the name goes.
    assert images.remove("x:1", force=True) == ["x:1"]
    assert images.store.resolve(sample.id).id == sample.id


def test_force_hides_an_image_until_its_last_container_is_gone(images, sample):
    images.container("c" * 64, sample.id, "exited")
    with pytest.raises(Conflict, match="must be forced.*stopped container cccccccccccc"):
        images.remove("x:2")
        images.remove(sample.id)
    assert images.remove(sample.id, force=True) == ["x:1", sample.id]
    with pytest.raises(NoSuchImage):
        images.store.resolve(sample.id)
    hidden = images.store.get(sample.id)
    assert len(images.store.lower_dirs(hidden)) == 2
    images.store.collector.collect()
    assert images.store.get(sample.id) == hidden
    images.ledger.execute("DELETE FROM containers")
    images.store.collector.collect()
    assert images.ledger.query("SELECT * FROM layers") == []


def test_parents(images):
    base, extra = tar(("base", b"")), tar(("extra", b""))
    parent, child = config(base), config(base, extra)
    images.load(docker_archive((parent, [base], None), (child, [base, extra], ["child:1"])))
    images.ledger.execute("UPDATE images SET parent = ? WHERE id = ?", (sha256(parent), sha256(child)))
    with pytest.raises(Conflict, match="cannot be forced.*image has dependent child images"):
        images.remove(sha256(parent), force=True)
    gone = images.remove("child:1")
    assert gone[:2] == ["child:1", sha256(child)]
    assert sha256(parent) in gone
    assert images.store.all() == []


def test_unknown(images):
    with pytest.raises(NoSuchImage, match="No such image: nothing:latest"):
        images.remove("nothing")


def test_prune(images, sample):
    dangling, used = Sample(b"dangling"), Sample(b"used")
    images.load(docker_archive((dangling.config, dangling.layers, None), (used.config, used.layers, None)))
    images.container("d" * 64, used.id)
    remover = Remover(images.store, images.store.collector)
    report = remover.prune(Filters({"label": ["who=nobody"]}))
    assert (report.images_deleted, report.space_reclaimed) == (None, 0)
    report = remover.prune()
    assert report.images_deleted[0].deleted == dangling.id
    assert report.space_reclaimed > 0
    assert {i.id for i in images.store.all()} == {sample.id, used.id}
    remover.prune(Filters({"dangling": ["false"]}))
    assert {i.id for i in images.store.all()} == {used.id}


def test_restart_finds_what_belongs_to_nobody(images, sample, new_store):
    root = images.root
    os.mkdir(os.path.join(root, "layers", "0" * 24))
    os.mkdir(os.path.join(root, "tmp", "layer-unfinished"))
    stray = sha256(b"stray")
    with open(os.path.join(root, "blobs/sha256", stray[7:]), "wb") as f:
        f.write(b"stray")
    again = new_store(root)
    again.store.restore()
    again.check()
    assert again.store.resolve("x:1").id == sample.id


def test_restart_drops_images_whose_layers_are_gone(images, sample, new_store):
    whole = Sample(b"whole")
    images.load(docker_archive((whole.config, whole.layers, ["whole:1"])))
    images.container("c" * 64, sample.id)
    os.rename(images.store.lower_dirs("x:1")[0], os.path.join(images.root, "tmp", "lost"))
    again = new_store(images.root)
    again.store.restore()
    assert [i.id for i in again.store.all()] == [whole.id]


def test_layers_written_before_a_power_cut_are_not_trusted(images, sample, new_store):
    import asyncio

    asyncio.run(images.store.settle())
    late = Sample(b"late")
    images.load(docker_archive((late.config, late.layers, ["late:1"])))
    assert len(images.store.layers.unsynced()) == 2
    images.ledger.execute("UPDATE layers SET boot_id = 'another boot' WHERE boot_id IS NOT NULL")
    images.ledger.execute("UPDATE blobs SET boot_id = 'another boot' WHERE boot_id IS NOT NULL")
    again = new_store(images.root)
    again.store.restore()
    assert [i.id for i in again.store.all()] == [sample.id]


def test_blobs_written_before_a_power_cut_are_not_trusted(images, sample, new_store):
    images.ledger.execute("UPDATE layers SET boot_id = NULL")
    images.ledger.execute("UPDATE blobs SET boot_id = 'another boot'")
    again = new_store(images.root)
    again.store.restore()
    assert [layer.blob for layer in again.store.resolve("x:1").layers] == [None, None]
    assert list(again.store.blobs) == []
