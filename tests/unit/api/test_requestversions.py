"""Each row of the tables, on both sides of its version."""

import json

import pytest

from corten.api import documents
from corten.api.endpoints import Services, endpoints
from corten.api.requestversions import DOCUMENTS, PARAMETERS, adapt, unknown_parameters
from corten.api.versions import MAX_VERSION, MIN_VERSION
from corten.errors import InvalidParameter
from corten.linux import cgroups
from corten.types.container import CreateRequest, UpdateRequest
from corten.types.exec import ExecConfig, ExecStartConfig
from corten.types.network import NetworkCreate

_TWO = {"a": {}, "b": {}}


def _endpoints(**settings):
    return {"NetworkingConfig": {"EndpointsConfig": {"n": settings}}}


def _mount(**members):
    return {"HostConfig": {"Mounts": [{"Target": "/x", "Source": "/y", **members}]}}


CGROUPNS = "host" if cgroups.detect() == "v1" else ""  # with cgroup v2 it was the container's own ever since


@pytest.mark.parametrize(
    ("document", "body", "read", "version", "before", "since"),
    [
        # document, what is sent, how to look at it, the version of the change, seen before it, seen since
        (CreateRequest, {"HostConfig": {"AutoRemove": True}}, lambda d: d.host_config.auto_remove, 25, False, True),
        (CreateRequest, {}, lambda d: d.host_config.ipc_mode, 40, "shareable", ""),
        (CreateRequest, {}, lambda d: d.host_config.cgroupns_mode, 41, CGROUPNS, ""),
        (CreateRequest, _mount(Type="bind", BindOptions={"NonRecursive": True}),
            lambda d: d.host_config.mounts[0].bind_options.non_recursive, 40, False, True),
        (CreateRequest, _mount(Type="bind", BindOptions={"CreateMountpoint": True}),
            lambda d: d.host_config.mounts[0].bind_options.create_mountpoint, 42, False, True),
        (CreateRequest, _mount(Type="bind", VolumeOptions={"NoCopy": True}),
            lambda d: d.host_config.mounts[0].volume_options is None, 42, True, False),
        (CreateRequest, _mount(Type="bind", TmpfsOptions={}),
            lambda d: d.host_config.mounts[0].tmpfs_options is None, 42, True, False),
        (CreateRequest, {"HostConfig": {"ConsoleSize": [4, 5]}},
            lambda d: d.host_config.console_size, 42, (0, 0), (4, 5)),
        (CreateRequest, {"HostConfig": {"KernelMemory": 9}}, lambda d: d.host_config.kernel_memory, 42, 9, 0),
        (CreateRequest, {"HostConfig": {"Annotations": {"a": "b"}}},
            lambda d: d.host_config.annotations, 43, None, {"a": "b"}),
        (CreateRequest, {"Healthcheck": {"StartInterval": 7}}, lambda d: d.healthcheck.start_interval, 44, 0, 7),
        (CreateRequest, _mount(Type="bind", ReadOnly=True),
            lambda d: bool(d.host_config.mounts[0].bind_options), 44, True, False),
        (CreateRequest, _endpoints(MacAddress="02:00:00:00:00:01"),
            lambda d: d.networking_config.endpoints_config["n"].mac_address, 44, "", "02:00:00:00:00:01"),
        (CreateRequest, _endpoints(GwPriority=5),
            lambda d: d.networking_config.endpoints_config["n"].gw_priority, 48, 0, 5),
        (UpdateRequest, {"PidsLimit": 5}, lambda d: d.pids_limit, 40, None, 5),
        (UpdateRequest, {"KernelMemory": 5}, lambda d: d.kernel_memory, 42, 5, 0),
        (ExecConfig, {"ConsoleSize": [4, 5]}, lambda d: d.console_size, 42, None, (4, 5)),
        (ExecStartConfig, {"ConsoleSize": [4, 5]}, lambda d: d.console_size, 42, None, (4, 5)),
        (NetworkCreate, {"Name": "n", "EnableIPv4": False}, lambda d: d.enable_ipv4, 48, None, False),
    ],
)  # fmt: skip
def test_members(document, body, read, version, before, since):
    for minor, wanted in ((24, before), (version - 1, before), (version, since), (51, since)):
        decoded = documents.decode(json.dumps(body).encode(), document)
        adapt(decoded, (1, minor))
        assert read(decoded) == wanted, minor


@pytest.mark.parametrize(
    ("body", "version", "text"),
    [
        ({"NetworkingConfig": {"EndpointsConfig": _TWO}}, 44, "multiple network endpoints: a, b"),
        (_mount(Type="bind", BindOptions={"ReadOnlyForceRecursive": True}), 44, "needs API v1.44"),
        (_mount(Type="volume", VolumeOptions={"Subpath": "s"}), 45, "Subpath needs API v1.45"),
        (_mount(Type="image"), 48, 'Mount type "Image" needs API v1.48'),
    ],
)
def test_what_a_version_cannot_ask_for(body, version, text):
    decoded = documents.decode(json.dumps(body).encode(), CreateRequest)
    with pytest.raises(InvalidParameter, match=text):
        adapt(decoded, (1, version - 1))
    adapt(documents.decode(json.dumps(body).encode(), CreateRequest), (1, version))


@pytest.mark.parametrize(
    ("body", "version", "text"),
    [
        ({"MacAddress": "02:00:00:00:00:01"}, 44, "MacAddress field is now deprecated"),
        (
            {"HostConfig": {"VolumeDriver": "d", "Mounts": [{"Type": "volume", "Target": "/x"}]}},
            48,
            "is ignored",
        ),
    ],
)
def test_warnings(body, version, text):
    decoded = documents.decode(json.dumps(body).encode(), CreateRequest)
    assert adapt(decoded, (1, version - 1)) == []
    assert text in adapt(decoded, (1, version))[0]


def test_two_addresses_of_one_endpoint():
    body = {"MacAddress": "02:00:00:00:00:01", "HostConfig": {"NetworkMode": "n"}}
    body |= _endpoints(MacAddress="02:00:00:00:00:02")
    with pytest.raises(InvalidParameter, match="must match the endpoint-specific MAC address"):
        adapt(documents.decode(json.dumps(body).encode(), CreateRequest), (1, 44))


@pytest.mark.parametrize(("limit", "wanted"), [(5, 5), (0, None), (-1, None)])
def test_a_limit_of_processes_is_known_to_all(limit, wanted):
    for minor in (24, 39, 40, 51):
        body = json.dumps({"HostConfig": {"PidsLimit": limit}}).encode()
        decoded = documents.decode(body, CreateRequest)
        adapt(decoded, (1, minor))
        assert decoded.host_config.pids_limit == wanted


@pytest.mark.parametrize(
    ("operation", "name", "since"),
    [(operation, name, since) for operation, rows in PARAMETERS.items() for name, since in rows],
)
def test_parameters(operation, name, since):
    assert name in unknown_parameters(*operation, (since[0], since[1] - 1))
    assert name not in unknown_parameters(*operation, since)


def test_the_tables_lie_within_our_versions():
    for row in DOCUMENTS:
        assert MIN_VERSION <= row.since <= MAX_VERSION
        assert row.before is None or row.since < row.before <= MAX_VERSION
    assert all(MIN_VERSION < since <= MAX_VERSION for rows in PARAMETERS.values() for _, since in rows)


def test_parameters_are_of_operations_that_there_are():
    services = Services(**dict.fromkeys(Services.__dataclass_fields__))
    assert set(PARAMETERS) <= {(route.method, route.template) for route in endpoints(services)}
