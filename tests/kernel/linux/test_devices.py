import os
import stat

import pytest

from corten.linux import devices

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("node", "mode", "owner"),
    [
        ({"type": "c", "major": 1, "minor": 3}, stat.S_IFCHR | 0o666, (0, 0)),
        ({"type": "b", "major": 7, "minor": 99, "fileMode": 0o640, "gid": 6}, stat.S_IFBLK | 0o640, (0, 6)),
        ({"type": "p", "fileMode": 0o600, "uid": 7}, stat.S_IFIFO | 0o600, (7, 0)),
    ],
)
def test_nodes_are_made_as_told_whatever_the_umask(tmp_path, node, mode, owner):
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    before = os.umask(0o077)
    try:
        devices.make_node(node, name="node", dir_fd=directory)
    finally:
        os.umask(before)
        os.close(directory)
    found = os.stat(tmp_path / "node")
    assert found.st_mode == mode
    assert (found.st_uid, found.st_gid) == owner
    if node["type"] != "p":
        assert found.st_rdev == os.makedev(node["major"], node["minor"])
