import json

import pytest

from corten.engine.cdi import DeviceEdits
from corten.engine.containers.devicerequests import with_requested_devices
from corten.engine.containers.record import ContainerRecord
from corten.errors import InvalidParameter
from corten.types.container import ContainerConfig, DeviceRequest, HostConfig


@pytest.fixture
def directory(tmp_path):
    for vendor, names in (("nvidia.com", ("0", "1", "all")), ("other.org", ("a",))):
        devices = [{"name": name, "containerEdits": {"env": [f"GOT_{name}=1"]}} for name in names]
        document = {
            "cdiVersion": "0.6.0",
            "kind": f"{vendor}/gpu",
            "containerEdits": {"env": ["COMMON=1"], "additionalGids": [44]},
            "devices": devices,
        }
        (tmp_path / f"{vendor}.json").write_text(json.dumps(document))
    return str(tmp_path)


def record(**request):
    return ContainerRecord(
        id="1" * 64,
        name="x",
        created_ns=0,
        image_id="sha256:" + "1" * 64,
        config=ContainerConfig(env=["A=b"]),
        host_config=HostConfig(device_requests=[DeviceRequest(**request)]),
    )


def env(directory, **request):
    return with_requested_devices(record(**request), [directory])[0].config.env


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"driver": "cdi", "device_ids": ["nvidia.com/gpu=1"]}, ["GOT_1=1"]),
        ({"count": -1, "capabilities": [["gpu"]]}, ["GOT_all=1"]),
        ({"count": 1, "capabilities": [["gpu"]]}, ["GOT_0=1"]),
        ({"count": 2, "capabilities": [["gpu"]]}, ["GOT_0=1", "GOT_1=1"]),
        ({"device_ids": ["1"], "capabilities": [["gpu", "utility"]]}, ["GOT_1=1"]),
        ({"driver": "other", "count": -1, "capabilities": [["gpu"]]}, ["GOT_a=1"]),
    ],
)
def test_choices(directory, request_, expected):
    assert env(directory, **request_) == ["A=b", "COMMON=1", *expected]


def test_groups_of_the_device_are_added(directory):
    found, hooks = with_requested_devices(record(count=1, capabilities=[["gpu"]]), [directory])
    assert found.host_config.group_add == ["44"]
    assert hooks == {}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (
            {"driver": "cdi", "device_ids": ["nvidia.com/gpu=9"]},
            "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=9",
        ),
        (
            {"driver": "nosuch", "count": 1, "capabilities": [["gpu"]]},
            r'could not select device driver "nosuch" with capabilities: \[\[gpu\]\]',
        ),
        ({"capabilities": [["tpu"]]}, r'driver "" with capabilities: \[\[tpu\]\]'),
    ],
)
def test_what_is_not_there(directory, request_, text):
    with pytest.raises(InvalidParameter, match=text):
        env(directory, **request_)


def test_without_requests_nothing_is_read():
    plain = record()
    plain.host_config.device_requests = None
    assert with_requested_devices(plain, ["/nonexistent"]) == (plain, {})
    assert DeviceEdits().groups == []
