# ruff: noqa: E501
"""What every request gets: routes, versions, documents, errors."""

import json

import pytest

from corten.linux import cgroups


def test_ping_tells_all_in_headers(wire):
    status, headers, body = wire.request("GET", "/_ping")
    assert (status, body) == (200, b"OK")
    assert headers["api-version"] == "1.51"
    assert headers["builder-version"] == "2"
    assert headers["docker-experimental"] == "false"
    assert headers["ostype"] == "linux"
    assert headers["swarm"] == "inactive"
    assert headers["server"].startswith("Corten/")
    assert headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert wire.request("HEAD", "/v1.41/_ping")[0::2] == (200, b"")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/v1.23/version",
            "client version 1.23 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
        ),
        ("/v1.52/version", "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("/v2.0/version", "client version 2.0 is too new. Maximum supported API version is 1.51"),
        ("/v1.2.3/version", "malformed API version: 1.2.3"),
    ],
)
def test_versions_outside_of_ours_are_refused(wire, path, message):
    status, _, body = wire.request("GET", path)
    assert status == 400
    assert json.loads(body) == {"message": message}
    assert body.endswith(b"\n")


@pytest.mark.parametrize("version", ["", "/v1.24", "/v1.51", "http://engine:2375/v1.51"])
def test_versions_of_ours_are_served(wire, version):
    assert wire.request("GET", f"{version}/version")[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nope"),
        ("GET", "/v1.41"),
        ("POST", "/_ping"),
        ("GET", "/containers//json"),
        ("PATCH", "/containers/x/json"),
        ("GET", "/containers/a/b/json"),
        ("GET", "/_ping/"),
        ("GET", "*"),
    ],
)
def test_unknown_paths(wire, method, path):
    status, headers, body = wire.request(method, path)
    assert (status, body) == (404, b'{"message":"page not found"}\n')
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/swarm/init", "Swarm mode is not supported by Corten yet"),
        ("POST", "/plugins/pull", "managed plugins are not supported by Corten yet"),
    ],
)
def test_what_is_not_supported_says_so(wire, method, path, message):
    status, _, body = wire.request(method, path)
    assert (status, json.loads(body)) == (501, {"message": message})


def test_errors_of_the_engine(wire):
    assert wire.request("GET", "/containers/x/json")[0::2] == (404, b'{"message":"No such container: x"}\n')
    create = {"Image": "busybox", "HostConfig": {}}
    assert wire.request("POST", "/containers/create?name=a", create)[0] == 201
    status, _, body = wire.request("POST", "/containers/create?name=a", create)
    assert (status, json.loads(body)["message"][:8]) == (409, "Conflict")
    status, _, body = wire.request("POST", "/containers/a/stop")
    assert (status, body) == (304, b"")
    assert wire.request("POST", "/containers/a/kill")[0] == 409
    assert wire.request("DELETE", "/containers/a")[0] == 204
    assert wire.request("GET", "/_ping")[0] == 200  # still the same connection


def test_unexpected_errors_do_not_leak(wire, caplog):
    status, _, body = wire.request("POST", "/images/x/tag?repo=explode")
    assert status == 500
    assert b"swordfish" not in body
    reference = json.loads(body)["message"].split()[-1]
    record = next(r for r in caplog.records if getattr(r, "reference", "") == reference)
    assert "swordfish" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON: unexpected EOF"),
        (
            b'{"Tty": "yes"}',
            "invalid JSON: json: cannot unmarshal string into Go struct field ContainerConfigWrapper.Config.Tty of type bool",
        ),
        (
            b'{"HostConfig": {"Memory": "1g"}}',
            "invalid JSON: json: cannot unmarshal string into Go struct field ContainerConfigWrapper.HostConfig.Memory of type int64",
        ),
        (b'["x"]', "invalid JSON: json: cannot unmarshal array into Go value of type struct"),
        (b'{"Image": "x"} {}', "unexpected content after JSON"),
        (b"[" * 100000, "invalid JSON: "),
        (b'{"Image": "\xff"}', "invalid JSON: "),
        (b'{"HostConfig": {"Memory": 1e400}}', "invalid JSON: "),
        (b'{"HostConfig": {"Memory": 9223372036854775808}}', "invalid JSON: json: "),
    ],
)
def test_malformed_documents(wire, body, message):
    status, _, answer = wire.request("POST", "/containers/create", body)
    assert status == 400
    assert json.loads(answer)["message"].startswith(message)


def test_go_is_forgiving(wire, fake):
    request = {
        "Image": "busybox",
        "Hostname": None,
        "Cmd": "one string",
        "Entrypoint": None,
        "SomethingNew": {"x": 1},
        "ExposedPorts": {"80/tcp": None},
        "HostConfig": {
            "CapAdd": "NET_ADMIN",
            "ShmSize": None,
            "LogConfig": None,
            "PortBindings": {"80/tcp": None},
        },
    }
    status, _, body = wire.request("POST", "/containers/create", request)
    assert status == 201
    made = fake.containers.by_id[json.loads(body)["Id"]].request
    assert made.cmd == ["one string"]
    assert made.hostname == ""
    assert made.exposed_ports == {"80/tcp": None}
    assert made.host_config.cap_add == ["NET_ADMIN"]
    assert made.host_config.port_bindings == {"80/tcp": None}


def test_content_type_must_be_json(wire):
    wire.send(
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
    )
    status, _, body = wire.answer()
    assert status == 400
    assert json.loads(body)["message"].startswith("unsupported Content-Type header (text/plain)")


def test_image_names_may_hold_slashes(wire):
    for name in ("docker.io/library/busybox:latest", "docker.io%2Flibrary%2Fbusybox:latest"):
        status, _, body = wire.request("GET", f"/images/{name}/json")
        assert (status, json.loads(body)["RepoTags"]) == (200, ["docker.io/library/busybox:latest"])
    status, _, body = wire.request("DELETE", "/images/a/b/c")
    assert json.loads(body)[0] == {"Untagged": "a/b/c"}


def test_older_clients_get_their_documents(wire):
    wire.request("POST", "/containers/create?name=a", {"Image": "busybox"})
    new = json.loads(wire.request("GET", "/containers/a/json")[2])
    assert new["NetworkSettings"]["Networks"]["mine"]["DNSNames"] == ["x"]
    assert new["NetworkSettings"]["Networks"]["mine"]["Aliases"] is None
    old = json.loads(wire.request("GET", "/v1.43/containers/a/json")[2])
    assert "DNSNames" not in old["NetworkSettings"]["Networks"]["mine"]
    assert old["NetworkSettings"]["Networks"]["mine"]["Aliases"] == [new["Id"][:12]]
    image = json.loads(wire.request("GET", "/v1.43/images/busybox/json")[2])
    assert image["VirtualSize"] == 42
    assert image["Config"]["AttachStdin"] is False
    assert image["Config"]["Cmd"] == ["sh"]
    assert json.loads(wire.request("GET", "/images/busybox/json")[2])["Config"] == {"Cmd": ["sh"]}
    assert json.loads(wire.request("GET", "/v1.43/images/json")[2])[0]["VirtualSize"] == 42


def test_older_requests_mean_what_they_meant(wire, fake):
    def made(version, host):
        body = wire.request("POST", f"{version}/containers/create", {"Image": "b", "HostConfig": host})[2]
        return fake.containers.by_id[json.loads(body)["Id"]].request.host_config

    assert made("/v1.40", {}).cgroupns_mode == ("host" if cgroups.detect() == "v1" else "")
    assert made("", {}).cgroupns_mode == ""
    assert made("", {"PidsLimit": -1}).pids_limit is None
    assert made("", {"PidsLimit": 5}).pids_limit == 5
    assert made("", {"MemorySwappiness": -1}).memory_swappiness is None
    assert made("", {"MemorySwappiness": 0}).memory_swappiness == 0
    assert made("/v1.41", {"ConsoleSize": [3, 4]}).console_size == (0, 0)
    assert made("", {"ConsoleSize": [3, 4]}).console_size == (3, 4)
    both = {"Image": "b", "NetworkingConfig": {"EndpointsConfig": {"one": {}, "two": None}}}
    status, _, body = wire.request("POST", "/v1.43/containers/create", both)
    assert (status, b"network endpoints: one, two" in body) == (400, True)
    assert wire.request("POST", "/v1.44/containers/create", both)[0] == 201


@pytest.mark.parametrize(
    "path",
    [
        "/containers/x/wait?condition=never",
        "/containers/x/logs",
        "/containers/x/logs?stdout=1&since=yesterday",
        "/containers/x/stop?t=x",
        "/containers/json?filters=nonsense",
        "/containers/json?filters=%7B%22a%22%3A1%7D",
        "/images/get",
        "/events?since=2&until=1",
        "/system/df?type=everything",
    ],
)
def test_bad_parameters(wire, path):
    method = "POST" if "wait" in path or "stop" in path else "GET"
    assert wire.request(method, path)[0] == 400
    assert wire.request("GET", "/_ping")[0] == 200


def test_an_empty_configuration(wire):
    for body in ({}, {"HostConfig": {"Memory": 1}}):
        status, _, answer = wire.request("POST", "/containers/create", body)
        assert (status, json.loads(answer)["message"][:22]) == (400, "config cannot be empty")
    assert wire.request("POST", "/containers/create", {"Cmd": ["x"]})[0] == 201


def test_kill_says_what_it_cannot_do(wire):
    status, _, body = wire.request("POST", "/containers/none/kill")
    assert (status, json.loads(body)["message"]) == (
        404,
        "cannot kill container: none: No such container: none",
    )


def test_there_is_no_plugin_of_any_name(wire):
    operations = [("GET", "/json"), ("DELETE", ""), ("POST", "/enable"), ("POST", "/push")]
    for method, action in operations:
        status, _, body = wire.request(method, f"/plugins/none:latest{action}")
        assert (status, json.loads(body)) == (404, {"message": 'plugin "none:latest" not found'})


def test_login(wire):
    login = {"username": "u", "password": "right", "serveraddress": "r.example"}
    assert wire.request("POST", "/auth", login)[0::2] == (200, b'{"Status":"Login Succeeded"}\n')
    assert wire.request("POST", "/auth", {**login, "password": "wrong"})[0] == 401


@pytest.mark.parametrize("path", ["/swarm", "/services", "/nodes", "/secrets", "/configs", "/tasks/x/logs"])
def test_an_engine_in_no_swarm_says_so(wire, path):
    """As Docker's: clients that look for a cluster take it for what it is."""
    status, _, body = wire.request("GET", path)
    assert status == 503
    assert json.loads(body)["message"].startswith("This node is not a swarm manager.")


def test_no_managed_plugins(wire):
    assert wire.request("GET", "/plugins")[::2] == (200, b"[]\n")
