"""What every LayerStore promises, whatever it keeps layers in."""

import gzip
import os
import subprocess

import pytest

from corten.digest import DigestMismatch
from corten.errors import NotFound
from corten.metadata import Ledger
from corten.snapshots.erofs.mounts import is_supported
from corten.snapshots.errors import BadArchive
from corten.snapshots.layers import DirectoryLayers
from corten.snapshots.workers import WorkerPool
from imagefiles import directory, sha256, symlink, tar

pytestmark = pytest.mark.root

DATA = tar(directory("d", 0o711, uid=3), ("d/f", b"content"), symlink("s", "d/f"), (".wh.gone", b""))
ID = sha256(DATA)


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool()
    yield pool
    pool.close()


@pytest.fixture(params=["extract", "erofs"])
def store(request, tmp_path, workers):
    ledger = Ledger(str(tmp_path / "meta.db"))
    if request.param == "erofs" and not is_supported(str(tmp_path)):
        pytest.skip("mounting EROFS from files needs Linux 6.12")
    layers = DirectoryLayers(str(tmp_path), ledger, workers, form=request.param)
    yield layers
    layers.close()
    assert os.listdir(tmp_path / "tmp") == []
    ledger.close()


def source(data):
    fd = os.memfd_create("layer")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@pytest.fixture
def adopted(store):
    layer = store.unpack(source(gzip.compress(DATA)), ID)
    store.adopt(layer)
    return layer


def test_unknown_layers(store):
    assert not store.has(ID)
    with pytest.raises(NotFound):
        store.directory(ID)


def test_an_adopted_layer_serves_as_lowerdir(store, adopted, tmp_path):
    lower = store.directory(ID)
    merged = tmp_path / "merged"
    merged.mkdir()
    base = tmp_path / "base"
    base.mkdir()
    (base / "gone").write_text("from below")
    (base / "stays").write_text("from below")
    shown = subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-ec",
            f"mount -t overlay o -o lowerdir={lower}:{base} {merged}; cd {merged}; ls; cat s",
        ],
        capture_output=True,
        check=True,
    ).stdout
    assert shown.split() == [b"d", b"s", b"stays", b"content"]


def test_dropped_layers_leave_nothing(store):
    layer = store.unpack(source(DATA), ID)
    store.drop(layer)
    assert not store.has(ID)


def test_the_same_twice_is_one(store, adopted):
    store.adopt(store.unpack(source(DATA), ID))
    assert store.has(ID)


@pytest.mark.parametrize("data", [DATA[:-2000], b"no tar" * 500, tar(("../x", b""))])
def test_what_is_no_layer_leaves_nothing(store, data):
    with pytest.raises(BadArchive):
        store.unpack(source(data), None)


def test_another_layer_than_expected_leaves_nothing(store):
    with pytest.raises(DigestMismatch):
        store.unpack(source(DATA), sha256(b"another"))


def test_canonical_layers_can_be_written_again(store, tmp_path):
    layer = store.canonical(store.unpack(source(DATA), None))
    store.adopt(layer)
    with open(tmp_path / "out", "w+b") as out:
        store.write_tar(layer.diff_id, out.fileno())
    assert sha256((tmp_path / "out").read_bytes()) == layer.diff_id


def test_layers_are_not_written_as_what_they_are_not(store, adopted, tmp_path):
    """A tar that somebody else made comes out byte for byte, or not at all."""
    foreign = subprocess.run(["tar", "-cf", "-", "/etc/hostname"], capture_output=True).stdout
    layer = store.unpack(source(gzip.compress(foreign)), None)
    store.adopt(layer)
    with open(tmp_path / "out", "w+b") as out:
        try:
            store.write_tar(layer.diff_id, out.fileno())
        except DigestMismatch:
            return  # made anew of the files, it is another one
    assert (tmp_path / "out").read_bytes() == foreign


def test_retired_layers_can_be_moved_away(store, adopted, tmp_path):
    lower = store.directory(ID)
    path = store.retire(ID)
    assert not os.path.ismount(lower)
    os.rename(path, tmp_path / "gone")


@pytest.mark.parametrize("keep", [True, False])
def test_upperdirs_become_layers(store, tmp_path, keep):
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "f").write_text("x")
    layer = store.from_upper(str(upper), keep=keep)
    assert upper.exists() == keep
    store.adopt(layer)
    assert os.listdir(store.directory(layer.diff_id)) == ["f"]


def test_pins_are_counted(store):
    store.pin(ID)
    store.pin(ID)
    store.unpin(ID)
    assert ID in store.pinned
    store.unpin(ID)
    assert ID not in store.pinned
