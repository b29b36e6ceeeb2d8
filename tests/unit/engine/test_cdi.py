"""Devices by their CDI names."""

import json

import pytest

from corten.builder.graph import Device
from corten.engine.cdi import find_devices
from corten.errors import InvalidParameter, NotSupported


@pytest.fixture
def directory(tmp_path):
    document = {
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/gpu",
        "containerEdits": {"env": ["COMMON=1"]},
        "devices": [
            {
                "name": "0",
                "containerEdits": {
                    "env": ["GPU=0"],
                    "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null", "permissions": "rw"}],
                    "mounts": [{"hostPath": "/lib/x", "containerPath": "/x", "options": ["ro"]}],
                },
            },
            {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "prestart", "path": "/bin/evil"}]}},
        ],
    }
    (tmp_path / "vendor.json").write_text(json.dumps(document))
    (tmp_path / "broken.json").write_text("{")
    return str(tmp_path)


def test_edits(directory):
    found = find_devices([Device(name="vendor.com/gpu=0", required=True)], [directory])
    assert found.env == ["COMMON=1", "GPU=0"]
    (node,) = found.nodes
    assert (node.path_on_host, node.path_in_container, node.cgroup_permissions) == (
        "/dev/null",
        "/dev/gpu0",
        "rw",
    )
    (mount,) = found.mounts
    assert (mount.source, mount.destination, mount.read_only) == ("/lib/x", "/x", True)


def test_what_is_not_there(directory):
    assert find_devices([Device(name="vendor.com/gpu=9")], [directory]).env == []
    with pytest.raises(InvalidParameter, match="vendor.com/gpu=9"):
        find_devices([Device(name="vendor.com/gpu=9", required=True)], [directory, "/nonexistent"])


def test_hooks_are_refused(directory):
    with pytest.raises(NotSupported):
        find_devices([Device(name="vendor.com/gpu=hooked")], [directory])
