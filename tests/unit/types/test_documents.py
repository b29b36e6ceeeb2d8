# ruff: noqa: E501
"""The documents against the specification: names, and what is null, empty or missing."""

import json

import msgspec
import pytest

from corten.types import container, events, exec, image, network, progress, system

# What dockerd 26.1 answers for a container of `docker create busybox`, before its daemon fills in defaults.
HOST_CONFIG_NULLS = {
    "Binds", "PortBindings", "VolumesFrom", "CapAdd", "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts",
    "GroupAdd", "Links", "SecurityOpt", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "Devices", "DeviceCgroupRules", "DeviceRequests",
    "MemorySwappiness", "OomKillDisable", "PidsLimit", "Ulimits", "MaskedPaths", "ReadonlyPaths",
}  # fmt: skip
HOST_CONFIG_OMITTED = {
    "Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Runtime", "KernelMemory", "KernelMemoryTCP", "Mounts", "Init",
}  # fmt: skip


def plain(document: msgspec.Struct) -> dict[str, object]:
    return json.loads(msgspec.json.encode(document))


def test_host_config_has_docker_s_nulls_and_omissions():
    answer = plain(container.HostConfig())
    assert {name for name, value in answer.items() if value is None} == HOST_CONFIG_NULLS
    assert set(container.HostConfig.__struct_encode_fields__) - set(answer) == HOST_CONFIG_OMITTED
    assert answer["ConsoleSize"] == [0, 0]
    assert answer["LogConfig"] == {"Type": "", "Config": None}
    assert answer["RestartPolicy"] == {"Name": "", "MaximumRetryCount": 0}


def test_config_has_docker_s_nulls_and_omissions():
    answer = plain(container.ContainerConfig())
    assert [name for name, value in answer.items() if value is None] == [
        "Env", "Cmd", "Volumes", "Entrypoint", "OnBuild", "Labels",
    ]  # fmt: skip
    assert not {"ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout", "Shell", "MacAddress"} & set(
        answer
    )


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (image.ImageConfig(cmd=["sh"]), {"Cmd": ["sh"]}),
        (image.DeleteItem(untagged="a"), {"Untagged": "a"}),
        (container.Port(private_port=80, type="tcp"), {"PrivatePort": 80, "Type": "tcp"}),
        (container.WaitResponse(status_code=0), {"StatusCode": 0}),
        (progress.JSONMessage(progress_detail=progress.ProgressDetail()), {"progressDetail": {}}),
        (
            events.Message(
                type="container", action="die", actor=events.Actor(id="1", attributes={}), time=1, time_nano=2
            ),
            {
                "Type": "container",
                "Action": "die",
                "Actor": {"ID": "1", "Attributes": {}},
                "time": 1,
                "timeNano": 2,
            },
        ),
        (
            system.AuthConfig(server_address="x", identity_token="y"),
            {"serveraddress": "x", "identitytoken": "y"},
        ),
        (network.EndpointIPAMConfig(link_local_ips=["x"]), {"LinkLocalIPs": ["x"]}),
        (
            exec.ExecProcess(tty=False, entrypoint="sh", arguments=[]),
            {"tty": False, "entrypoint": "sh", "arguments": []},
        ),
    ],
)
def test_names_and_omissions(document, expected):
    assert plain(document) == expected


def test_maps_of_network_settings_are_never_missing():
    answer = plain(container.NetworkSettings())
    assert (answer["Ports"], answer["Networks"], answer["SecondaryIPAddresses"]) == ({}, {}, None)


def test_empty_values_of_clients_stay_omitted():
    decoded = msgspec.json.decode(
        b'{"StopSignal": "", "HostConfig": {"Runtime": "", "Init": null, "KernelMemory": 0}}',
        type=container.CreateRequest,
    )
    answer = plain(decoded)
    assert "StopSignal" not in answer
    assert not HOST_CONFIG_OMITTED & set(answer["HostConfig"])


def test_secrets_do_not_print():
    assert "swordfish" not in repr(
        system.AuthConfig(username="u", password="swordfish", identity_token="swordfish")
    )
