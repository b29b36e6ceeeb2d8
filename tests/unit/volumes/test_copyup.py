import os

import pytest

from corten.linux.deletion import delete_tree
from corten.volumes.copyup import copy_up, recover


@pytest.fixture
def target(tmp_path):
    directory = tmp_path / "target"
    directory.mkdir()
    return directory


def layer(tmp_path, name, files):
    for path, text in files.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(tmp_path / name)


def names(directory):
    return sorted(
        os.path.relpath(os.path.join(d, f), directory) for d, _, fs in os.walk(directory) for f in fs
    )


def test_layers_are_merged(tmp_path, target):
    low = layer(tmp_path, "low", {"data/a": "low", "data/sub/b": "low"})
    high = layer(tmp_path, "high", {"data/a": "high", "data/sub/c": "high"})
    os.symlink("/etc/passwd", tmp_path / "high/data/link")
    assert copy_up([high, low, str(tmp_path / "missing")], "/data", str(target))
    assert names(target) == ["a", "link", "sub/b", "sub/c"]
    assert (target / "a").read_text() == "high"
    assert os.readlink(target / "link") == "/etc/passwd"


def test_a_volume_in_use_is_left_alone(tmp_path, target):
    (target / "mine").write_text("x")
    assert not copy_up([layer(tmp_path, "low", {"data/a": "low"})], "/data", str(target))
    assert names(target) == ["mine"]


def test_owner_and_mode_come_along(tmp_path, target):
    low = layer(tmp_path, "low", {"data/a": "low"})
    os.chmod(tmp_path / "low/data", 0o1777)
    os.chmod(tmp_path / "low/data/a", 0o4750)
    copy_up([low], "/data", str(target))
    assert os.stat(target).st_mode & 0o7777 == 0o1777
    assert os.stat(target / "a").st_mode & 0o7777 == 0o4750


@pytest.mark.root
@pytest.mark.root
def test_whiteouts_and_opaque_directories_hide(tmp_path, target):
    low = layer(tmp_path, "low", {"data/gone": "1", "data/sub/old": "2"})
    high = layer(tmp_path, "high", {"data/sub/new": "3"})
    os.mknod(tmp_path / "high/data/gone", 0o020000, os.makedev(0, 0))
    os.setxattr(tmp_path / "high/data/sub", "trusted.overlay.opaque", b"y")
    copy_up([high, low], "/data", str(target))
    assert names(target) == ["sub/new"]
    assert "trusted.overlay.opaque" not in os.listxattr(target / "sub")


def test_a_symlink_on_the_way_is_not_followed(tmp_path, target):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "s").write_text("host")
    (tmp_path / "evil").mkdir()
    os.symlink(secret, tmp_path / "evil/data")
    copy_up([str(tmp_path / "evil")], "/data", str(target))
    assert names(target) == []


def test_what_a_crash_left_half_done_is_dropped(tmp_path, target):
    (target / ".corten-copy-up").mkdir()
    (target / ".corten-copy-up/half").write_text("x")
    assert copy_up([layer(tmp_path, "low", {"data/a": "low"})], "/data", str(target))
    assert names(target) == ["a"]


def test_what_was_complete_is_moved_to_its_place(tmp_path, target):
    (target / ".corten-copy-up-complete/sub").mkdir(parents=True)
    (target / ".corten-copy-up-complete/sub/b").write_text("x")
    (target / "a").write_text("moved before the crash")
    recover(str(target))
    assert sorted(os.listdir(target)) == ["a", "sub"]
    assert not copy_up([layer(tmp_path, "low", {"data/c": "low"})], "/data", str(target))


def test_an_error_leaves_nothing(tmp_path, target, monkeypatch):
    low = layer(tmp_path, "low", {"data/a": "low"})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("corten.volumes.tree.copy_attributes", fail)
    with pytest.raises(OSError, match="No space"):
        copy_up([low], "/data", str(target))
    assert os.listdir(target) == []


def down(directory, levels, *, make=False):
    """The fd of the directory `levels` below."""
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(levels):
        if make:
            os.mkdir("d" * 50, dir_fd=fd)
        inner = os.open("d" * 50, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    return fd


@pytest.fixture
def deep_layer(tmp_path, target):
    """A layer with a directory that no path and no stack reaches the bottom of."""
    directory = layer(tmp_path, "low", {"data/a": "low"})
    try:
        fd = down(f"{directory}/data", 3000, make=True)
        os.close(os.open("bottom", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        os.close(fd)
        yield directory
    finally:
        delete_tree(directory)
        delete_tree(str(target))


def test_trees_deeper_than_any_path_and_any_stack(deep_layer, target):
    before = len(os.listdir("/proc/self/fd"))
    assert copy_up([deep_layer], "/data", str(target))
    assert len(os.listdir("/proc/self/fd")) == before
    fd = down(target, 3000)
    assert os.listdir(fd) == ["bottom"]
    os.close(fd)


def test_hard_links_stay_links(tmp_path, target):
    low = layer(tmp_path, "low", {"data/a": "x", "data/sub/b": "y"})
    os.link(tmp_path / "low/data/a", tmp_path / "low/data/sub/c")
    copy_up([low], "/data", str(target))
    assert (target / "a").stat().st_ino == (target / "sub/c").stat().st_ino
