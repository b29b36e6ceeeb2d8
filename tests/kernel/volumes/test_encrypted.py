"""Encrypted volumes whose making was cut short."""

import os

import pytest

from corten.linux import mounts as m
from corten.volumes.encrypted import mount_encrypted

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not os.path.exists("/dev/fuse"),
        reason="this machine has no /dev/fuse, which gocryptfs needs",
    ),
]


def test_half_made_is_made_again(tmp_path):
    key = tmp_path / "key"
    key.write_text("key")
    key.chmod(0o400)
    target = tmp_path / "v/_data"
    target.mkdir(parents=True)
    half = tmp_path / "v/cipher.new"
    half.mkdir()
    (half / "gocryptfs.conf").write_text("{")
    mount_encrypted(str(tmp_path / "v"), f"file:{key}", str(target), owner=(5, 6))
    try:
        status = target.stat()
        assert (status.st_uid, status.st_gid) == (5, 6) and os.listdir(target) == []
        (target / "f").write_text("kept")
        m.umount2(str(target), m.MNT_DETACH)
        assert os.listdir(target) == [] and not half.exists()
        mount_encrypted(str(tmp_path / "v"), f"file:{key}", str(target))
        assert (target / "f").read_text() == "kept"
    finally:
        m.umount2(str(target), m.MNT_DETACH)
