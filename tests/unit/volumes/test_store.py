import shutil

import pytest

from corten.errors import Conflict, InvalidParameter, NotSupported
from corten.metadata import Ledger
from corten.volumes.store import NoSuchVolume, VolumeStore


class Bin:
    def discard(self, path):
        shutil.rmtree(path)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(str(tmp_path / "meta.db"))
    yield ledger
    ledger.close()


@pytest.fixture
def store(tmp_path, ledger):
    return VolumeStore(str(tmp_path / "volumes"), ledger, Bin())


def test_create_twice_gives_the_same_volume(store, tmp_path):
    volume = store.create("data", labels={"a": "b"})
    assert volume.mountpoint == str(tmp_path / "volumes/data/_data")
    assert store.create("data") == volume
    assert store.all() == [volume]


def test_no_name_is_an_anonymous_volume(store):
    volume = store.create()
    assert volume.anonymous and len(volume.name) == 64
    assert not store.create("named").anonymous


@pytest.mark.parametrize("name", ["x", "../x", "-x", "a/b", "a b", ".hidden"])
def test_bad_names(store, name):
    with pytest.raises(InvalidParameter):
        store.create(name)


def test_other_drivers_are_refused(store):
    with pytest.raises(NotSupported):
        store.create("x1", driver="nfs")


def test_a_used_volume_stays(store, ledger, tmp_path):
    store.create("data")
    ledger.execute(
        "INSERT INTO containers (id, name, created_ns, status, state, document)"
        " VALUES ('c1', 'n', 0, 'created', x'7b7d', x'7b7d')"
    )
    store.use("data", "c1")
    with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c1\]"):
        store.remove("data")
    ledger.execute("DELETE FROM containers")
    store.remove("data")
    assert not (tmp_path / "volumes/data").exists()
    with pytest.raises(NoSuchVolume, match="get data: no such volume"):
        store.get("data")


def test_sweep_takes_what_no_row_knows(store, tmp_path):
    store.create("kept")
    (tmp_path / "volumes/orphan/_data").mkdir(parents=True)
    assert store.sweep() == ["orphan"]
    assert [path.name for path in (tmp_path / "volumes").iterdir()] == ["kept"]
