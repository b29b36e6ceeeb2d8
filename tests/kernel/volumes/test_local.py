"""Volumes that show somebody else's directory: what is in it is not ours to delete."""

import contextlib

import pytest

from corten.linux import mounts as m
from corten.linux.deletion import delete_tree
from corten.linux.mountinfo import mounts_below
from corten.volumes.local import LocalDriver
from corten.volumes.volume import Volume

pytestmark = pytest.mark.root


class Deleter:
    """Trash that is emptied at once."""

    def discard(self, path):
        delete_tree(path)


@pytest.fixture
def precious(tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").write_text("the host's")
    yield folder
    for path in reversed(mounts_below(str(tmp_path))):
        with contextlib.suppress(OSError):
            m.umount2(path, m.MNT_DETACH)


@pytest.fixture
def driver(tmp_path):
    return LocalDriver(str(tmp_path / "volumes"), Deleter())


def bound(device):
    options = {"type": "none", "o": "bind", "device": str(device)}
    return Volume(name="bound", mountpoint="", created_ns=0, options=options)


def test_what_is_mounted_is_not_mounted_again(driver, precious, tmp_path):
    driver.create(bound(precious))
    target = driver.mount(bound(precious))
    assert driver.mount(bound(precious)) == target  # as an engine after a crash
    assert mounts_below(str(tmp_path)) == [target]


def test_a_volume_mounted_more_than_once_is_removed_without_what_it_shows(driver, precious, tmp_path):
    driver.create(bound(precious))
    driver.mount(bound(precious))
    m.mount(str(precious), driver.path("bound"), None, m.MS_BIND)
    driver.remove(bound(precious))
    assert mounts_below(str(tmp_path)) == []
    assert (precious / "file").read_text() == "the host's"


@pytest.mark.parametrize("below", ["", "a", "a/b", "a/b/c"])
def test_what_somebody_mounted_below_is_never_emptied(driver, precious, tmp_path, below):
    plain = Volume(name="plain", mountpoint="", created_ns=0)
    driver.create(plain)
    inner = tmp_path / "volumes/plain/_data" / below
    inner.mkdir(parents=True, exist_ok=True)
    m.mount(str(precious), str(inner), None, m.MS_BIND)
    with pytest.raises(OSError, match="cross-device|busy"):
        driver.remove(plain)
    assert (precious / "file").read_text() == "the host's"
