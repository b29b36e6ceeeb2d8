"""Copying trees that somebody changes under our hands."""

import os
import stat

import pytest

from corten.volumes import tree


@pytest.fixture
def folder(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_a_link_put_in_place_of_a_fifo_is_not_followed(tmp_path, folder):
    victim = tmp_path / "victim"
    victim.touch(0o600)
    os.mkfifo(tmp_path / "fifo")
    status = os.stat(tmp_path / "fifo")
    (tmp_path / "fifo").unlink()
    (tmp_path / "fifo").symlink_to(victim)
    tree._set_owner_and_times("fifo", status, folder)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


def test_a_device_put_in_place_of_a_file_is_not_read(folder, tmp_path):
    devices = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="replaced"):
            tree._copy_file("null", devices, folder)
    finally:
        os.close(devices)
    assert os.listdir(tmp_path) == []
