import os

import pytest

from corten.linux.deletion import delete_tree


def nest(path, depth):
    os.mkdir(path)
    fd = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        for name in ("d", ".deleting-0"):
            os.mkdir(name, dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        following = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = following
    os.close(fd)


def test_trees_of_any_depth(tmp_path):
    nest(tmp_path / "deep", 3000)
    delete_tree(str(tmp_path / "deep"))
    assert os.listdir(tmp_path) == []


def test_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("x")
    inside = tmp_path / "inside" / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "link").symlink_to(outside)
    (tmp_path / "inside" / "link").symlink_to(outside)
    delete_tree(str(tmp_path / "inside"))
    (tmp_path / "link").symlink_to(outside)
    delete_tree(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["keep"]


@pytest.mark.parametrize("kind", ["file", "nothing", "empty"])
def test_single_things(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("x")
    if kind == "empty":
        path.mkdir()
    delete_tree(str(path))
    assert os.listdir(tmp_path) == []
