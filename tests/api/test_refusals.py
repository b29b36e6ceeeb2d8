"""As dockerd 26.1.5, mostly in what it refuses: requests that the recorded scenarios of the CLI do not make."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from engine import Engine

BAD_NAME = "invalid reference format: repository name (library/Bad Name) must be lowercase"


@pytest.fixture(scope="module")
def made(engine: Engine, busybox_tar: Path):
    """The engine with an image `refusing:1` and a container of it."""
    engine.run("docker", "import", str(busybox_tar), "refusing:1")
    engine.run("docker", "create", "--name", "refused", "refusing:1", "true")
    yield engine
    engine.run("docker", "rm", "refused")
    engine.run("docker", "rmi", "refusing:1")


def message(made: Engine, method: str, path: str, body: object = None) -> tuple[int, str]:
    status, answer = made.request(method, path, body)
    return status, json.loads(answer or b"{}").get("message", "")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"StopSignal": "BOGUS"}, "invalid signal: BOGUS"),
        ({"MacAddress": "x"}, "invalid MAC address: x"),
        ({"HostConfig": {"NetworkMode": "container:"}}, "Invalid network mode: invalid container format"),
        (
            {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}},
            'invalid port specification: "x"',
        ),
        ({"HostConfig": {"ExtraHosts": ["x:1.2.3"]}}, 'invalid IP address in add-host: "1.2.3"'),
        ({"HostConfig": {"IpcMode": "container:nosuch"}}, "No such container: nosuch"),
        ({"HostConfig": {"PidMode": "container:nosuch"}}, "No such container: nosuch"),
        ({"HostConfig": {"Annotations": {"": "x"}}}, "invalid Annotations: the empty string"),
        ({"HostConfig": {"VolumesFrom": [""]}}, "volumes-from specification cannot be an empty string"),
        ({"HostConfig": {"CpusetCpus": "x"}}, "Invalid value x for cpuset cpus: invalid format: x"),
        (
            {"HostConfig": {"CpuRealtimePeriod": 10, "CpuRealtimeRuntime": 20}},
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
        ({"NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "z"}}}}, "invalid MAC address"),
        ({"Image": "Bad Name"}, BAD_NAME),
    ],
)
def test_create(made: Engine, config: dict[str, object], text: str) -> None:
    status, said = message(
        made, "POST", "/containers/create?name=never", {"Image": "refusing:1", "Cmd": ["x"], **config}
    )
    assert (status, said[: len(text)]) == (400, text)


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/images/Bad%20Name/json", 400, BAD_NAME),
        ("DELETE", "/images/r6@x", 400, "invalid reference format"),
        ("POST", "/images/nosuch/tag?repo=Bad%20Name", 400, BAD_NAME),
        ("GET", "/images/nosuch/json", 404, "No such image: nosuch:latest"),
        (
            "GET",
            "/images/x@sha256:" + "0" * 64 + "/json",
            404,
            "No such image: x@sha256:" + "0" * 64,
        ),
        ("GET", '/images/json?filters={"before":["nosuch"]}', 404, "No such image: nosuch:latest"),
        (
            "POST",
            '/build/prune?filters={"foo":["bar"]}',
            400,
            "failed to prune build cache: invalid filter 'foo'",
        ),
        (
            "POST",
            "/build/prune?reserved-space=x",
            400,
            "reserved-space is in bytes and expects an integer, got x: "
            'strconv.Atoi: parsing "x": invalid syntax',
        ),
        (
            "POST",
            '/images/prune?filters={"until":["x"]}',
            400,
            'failed to parse value as time or duration: "x"',
        ),
        ("GET", "/networks/bridge?scope=swarm", 404, "network bridge not found"),
        ("DELETE", "/containers/nosuch?link=1", 404, "No such container: nosuch"),
        (
            "POST",
            "/images/create?fromImage=x&platform=a/b/c/d",
            400,
            '"a/b/c/d": cannot parse platform specifier: invalid argument',
        ),
    ],
)
def test_requests(made: Engine, method: str, path: str, status: int, text: str) -> None:
    assert message(made, method, path.replace('"', "%22")) == (status, text)


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (
            "/networks/create",
            {"Name": "default"},
            403,
            "operation is not permitted on predefined default network",
        ),
        (
            "/volumes/create",
            {"Name": "clustered", "ClusterVolumeSpec": {}},
            503,
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
            "node to swarm and try again.",
        ),
        ("/networks/bridge/connect", {"Container": ""}, 400, 'invalid name or ID supplied: ""'),
        ("/networks/bridge/disconnect", {"Container": ""}, 400, 'invalid name or ID supplied: ""'),
    ],
)
def test_networks_and_volumes(made: Engine, path: str, body: object, status: int, text: str) -> None:
    assert message(made, "POST", path, body) == (status, text)


def test_a_broken_pattern_matches_nothing(made: Engine) -> None:
    assert made.request("GET", "/containers/json?all=1&filters={%22name%22:[%22*refused*%22]}") == (
        200,
        b"[]\n",
    )


def test_a_tag_replaces_that_of_the_repository(made: Engine) -> None:
    """As in `POST /images/create`; without a repository it says nothing."""
    assert made.request("POST", "/images/refusing:1/tag?repo=other:1&tag=2") == (201, b"")
    assert made.request("DELETE", "/images/other:2")[0] == 200


def test_an_update_without_a_body_changes_nothing(made: Engine) -> None:
    assert made.request("POST", "/containers/refused/update") == (200, b'{"Warnings":null}\n')


def test_every_prune_is_an_event(made: Engine) -> None:
    kinds = {"containers": "container", "images": "image", "networks": "network", "volumes": "volume"}
    kinds["build"] = "builder"
    since = time.time()
    for path in kinds:
        assert made.request("POST", f"/{path}/prune?filters={{%22label%22:[%22nosuch%22]}}")[0] == 200
    _, body = made.request("GET", f"/events?since={since:.9f}&until={time.time():.9f}")
    events = [json.loads(line) for line in body.splitlines()]
    found = [event["Type"] for event in events if event["Action"] == "prune"]
    assert found == list(kinds.values())
