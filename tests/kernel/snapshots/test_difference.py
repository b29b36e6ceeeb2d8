import os

import pytest

from corten.snapshots.changes import ADDED, DELETED, MODIFIED
from corten.snapshots.difference import difference


@pytest.fixture
def trees(tmp_path):
    """Two trees that are alike."""
    for name in ("old", "new"):
        root = tmp_path / name
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text("root")
        (root / "etc/link").symlink_to("passwd")
        (root / "bin").mkdir()
        (root / "bin/tool").write_bytes(b"tool" * 1000)
    return tmp_path / "old", tmp_path / "new"


def between(trees):
    fds = [os.open(tree, os.O_RDONLY | os.O_DIRECTORY) for tree in trees]
    try:
        return list(difference(*fds))
    finally:
        for fd in fds:
            os.close(fd)


def test_times_do_not_count(trees):
    os.utime(trees[1] / "etc/passwd", (1, 1))
    os.utime(trees[1] / "etc", (1, 1))
    assert between(trees) == []


def change_content(root):
    (root / "etc/passwd").write_text("toor")


def change_length(root):
    (root / "etc/passwd").write_text("root\n")


def change_mode(root):
    (root / "etc/passwd").chmod(0o600)


def change_owner(root):
    os.chown(root / "etc/passwd", 1, 2)


def change_attribute(root):
    os.setxattr(root / "etc/passwd", "user.note", b"x")


def change_type(root):
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")


@pytest.mark.parametrize(
    "change", [change_content, change_length, change_mode, change_owner, change_attribute, change_type]
)
def test_a_changed_file_and_its_directory(trees, change):
    change(trees[1])
    assert between(trees) == [("/etc", MODIFIED), ("/etc/passwd", MODIFIED)]


def test_links_and_devices(trees):
    old, new = trees
    (new / "etc/link").unlink()
    (new / "etc/link").symlink_to("shadow")
    os.mknod(old / "etc/null", 0o20666, os.makedev(1, 3))
    os.mknod(new / "etc/null", 0o20666, os.makedev(1, 5))
    assert between(trees) == [("/etc", MODIFIED), ("/etc/link", MODIFIED), ("/etc/null", MODIFIED)]


def test_a_directory_itself(trees):
    (trees[1] / "bin").chmod(0o700)
    assert between(trees) == [("/bin", MODIFIED)]


def test_whole_trees_come_and_go(trees):
    old, new = trees
    (old / "a/b").mkdir(parents=True)
    (new / "z").mkdir()
    (new / "z/link").symlink_to("/etc")  # named, never entered
    assert between(trees) == [("/a", DELETED), ("/a/b", DELETED), ("/z", ADDED), ("/z/link", ADDED)]


def test_a_file_becomes_a_directory_and_back(trees):
    old, new = trees
    (new / "bin/tool").unlink()
    (new / "bin/tool").mkdir()
    (new / "bin/tool/inner").touch()
    inside = [("/bin", MODIFIED), ("/bin/tool", MODIFIED)]
    assert between(trees) == [*inside, ("/bin/tool/inner", ADDED)]
    assert between((new, old)) == [*inside, ("/bin/tool/inner", DELETED)]
