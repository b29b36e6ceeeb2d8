import errno
import re
import shutil

import pytest

from corten.errors import Conflict, InternalError, InvalidParameter, NotFound
from corten.linux.quota import Usage
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
    with pytest.raises(
        NotFound, match='create x1: error looking up volume plugin nfs: plugin "nfs" not found'
    ):
        store.create("x1", driver="nfs")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bad": "1"}, 'create vol: invalid option: "bad"'),
        ({"type": "nfs"}, 'create vol: missing required option: "device"'),
        ({"device": "/x"}, 'create vol: missing required option: "type"'),
    ],
)
def test_options_of_the_local_driver(store, options, text):
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        store.create("vol", options=options)
    assert store.find("vol") is None


def test_events_tell_of_beginning_and_end(tmp_path, ledger):
    seen = []
    store = VolumeStore(str(tmp_path / "volumes"), ledger, Bin(), on_event=lambda *event: seen.append(event))
    store.create("data")
    store.create("data")
    store.remove("data")
    assert seen == [("create", "data", {"driver": "local"}), ("destroy", "data", {"driver": "local"})]


def test_a_used_volume_stays(store, ledger, tmp_path):
    store.create("data")
    ledger.execute(
        "INSERT INTO containers (id, name, created_ns, status, state, document)"
        " VALUES ('c1', 'n', 0, 'created', x'7b7d', x'7b7d')"
    )
    store.rows.use("data", "c1")
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


@pytest.mark.parametrize("moved", [False, True])
def test_a_rename_that_was_cut_short_is_ended(store, tmp_path, monkeypatch, moved):
    volume = store.create("old")
    (tmp_path / "volumes/old/_data/f").write_text("x")
    rename = store.local.rename

    def crash(name, to):
        if moved:
            rename(name, to)
        raise KeyboardInterrupt

    monkeypatch.setattr(store.local, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        store.rename(volume, "new")
    monkeypatch.setattr(store.local, "rename", rename)
    assert store.sweep() == []
    assert [each.name for each in store.all()] == ["new"]
    assert (tmp_path / "volumes/new/_data/f").read_text() == "x"
    assert store.sweep() == []


def test_a_removal_that_was_noted_is_known_to_the_next_store(store, ledger, tmp_path):
    store.create("going")
    store.create("staying")
    store.rows.set_leaving("going", True)
    store.rows.set_leaving("nothing", True)
    assert VolumeStore(str(tmp_path / "volumes"), ledger, Bin()).rows.leaving() == ["going"]
    store.rows.set_leaving("going", False)
    assert store.rows.leaving() == []


def test_what_was_to_go_stays_with_who_takes_it(store, ledger):
    store.create("going", labels={"a": "b"}, options={"type": "tmpfs", "device": "tmpfs"})
    store.rows.set_leaving("going", True)
    with ledger.transaction():
        ledger.execute("PRAGMA defer_foreign_keys = ON")
        store.rows.use("going", "c1")
        ledger.execute("DELETE FROM volume_users")
    assert store.rows.leaving() == []
    assert store.get("going").labels == {"a": "b"}


class Quotas:
    """A file system's project quotas; tests/vm has real ones."""

    Usage = Usage

    def __init__(self):
        self.limits = {}
        self.error = 0
        self.on_limit = lambda: None

    def is_enforced(self, fd):
        return True

    def usage(self, fd, project):
        self._fail()
        return Usage(limit_bytes=self.limits.get(project, 0))

    def set_limit(self, fd, project, limit_bytes):
        self._fail()
        self.on_limit()
        self.limits[project] = limit_bytes

    def give_to_project(self, fd, project):
        self._fail()

    def _fail(self):
        if self.error:
            raise OSError(self.error, "quota")


@pytest.fixture
def quotas(monkeypatch):
    quotas = Quotas()
    monkeypatch.setattr("corten.volumes.quota.quota", quotas)
    return quotas


def test_a_limit_goes_before_the_row_that_names_its_project(store, quotas):
    """Else one that is killed in between leaves a number that is never free again."""
    volume = store.create("small", options={"size": "16m"})
    assert quotas.limits == {volume.project: 16 << 20}
    quotas.on_limit = lambda: store.get("small")
    store.remove("small")
    assert quotas.limits == {volume.project: 0}


def test_quotas_that_are_switched_off_do_not_hold_a_volume(store, quotas, tmp_path):
    volume = store.create("small", options={"size": "16m"})
    quotas.error = errno.ESRCH
    assert store.local.counted(volume) is None
    store.remove("small")
    assert store.all() == [] and not (tmp_path / "volumes/small").exists()


def test_a_volume_that_cannot_be_limited_is_not_made(store, quotas, tmp_path):
    def full():
        quotas.error = errno.EDQUOT

    quotas.on_limit = full
    with pytest.raises(InternalError, match="create small: quota"):
        store.create("small", options={"size": "16m"})
    assert store.all() == [] and not (tmp_path / "volumes/small").exists()
