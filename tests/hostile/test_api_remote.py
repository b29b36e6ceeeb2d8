"""The API over TCP: whoever reaches it is root, so nobody reaches it by accident.

Host, Origin, malformed requests and limits are tested against the server alone in tests/api.
"""

import http.client
import json
import socket
from pathlib import Path

import pytest

from engine import Engine


def _refused(*arguments, config=None):
    """The log of an engine that must not start with these arguments."""
    engine = Engine(config)
    try:
        with pytest.raises(RuntimeError) as error:
            engine.start(*arguments)
        return str(error.value)
    finally:
        engine.close()


@pytest.mark.root
@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:0", "tcp://0.0.0.0:2375", "tcp://[::1]:2375", "127.0.0.1:2375"]
)
def test_tcp_without_tls_is_refused(address):
    assert "without TLS" in _refused("-H", address)
    assert "without TLS" in _refused(config={"hosts": [address]})


@pytest.mark.root
def test_tls_without_its_files_is_refused():
    assert "TLS needs" in _refused("-H", "tcp://127.0.0.1:0", "--tls")
    assert "TLS needs" in _refused("-H", "tcp://127.0.0.1:0", "--tlsverify")


def _ask(engine, path, headers, method="GET", body=None):
    """curl inside the sandbox; (status, body)."""
    command = ["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "-X", method, f"http://127.0.0.1:2375{path}"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if body is not None:
        command += ["--data-binary", json.dumps(body)]
    text, _, status = engine.run(*command).stdout.rpartition("\n")
    return int(status), text


@pytest.fixture
def insecure():
    engine = Engine()
    try:
        engine.start("-H", engine.docker_host, "-H", "tcp://127.0.0.1:2375", "--insecure-tcp")
        yield engine
    finally:
        engine.close()


def test_web_pages_cannot_use_an_open_port(insecure):
    """DNS rebinding and cross-site requests, against the whole daemon."""
    create = {"Image": "x", "HostConfig": {"Privileged": True}}
    assert _ask(insecure, "/_ping", {})[0] == 200
    assert _ask(insecure, "/_ping", {"Host": "evil.example:2375"})[0] == 403
    assert _ask(insecure, "/_ping", {"Host": "127.0.0.1.evil.example"})[0] == 403
    assert _ask(insecure, "/_ping", {"Origin": "https://evil.example"})[0] == 403
    assert _ask(insecure, "/_ping", {"Origin": "null"})[0] == 403
    assert _ask(insecure, "/_ping", {"Sec-Fetch-Site": "cross-site"})[0] == 403
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        # what a form can send without asking first
        status, _ = _ask(insecure, "/containers/create", {"Content-Type": media_type}, "POST", create)
        assert status in (400, 403, 415), media_type


def test_no_header_invites_other_sites(insecure):
    shown = insecure.run("curl", "-si", "http://127.0.0.1:2375/version").stdout.lower()
    assert "access-control-allow" not in shown


def _raw(engine, request):
    """Send bytes to the unix socket; all that comes back until it closes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(engine.socket))
        sock.sendall(request)
        answer = b""
        try:
            while data := sock.recv(65536):
                answer += data
        except TimeoutError:
            pass
        return answer


@pytest.mark.parametrize(
    "head",
    [
        b"POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    ],
)
def test_no_request_is_smuggled(engine, head):
    """Where a request ends is what a proxy and we must agree on: what is ambiguous ends the connection."""
    answer = _raw(engine, head + b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400"), answer[:100]
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/containers/..%2f..%2f..%2fetc%2fpasswd/json",
        "/containers/%00/json",
        "/containers/" + "a" * 5000 + "/json",
        "/images/..%2f..%2fetc/json",
        "/exec/..%2f..%2fx/json",
        "/networks/..%2f..%2fx",
        "/containers/%ff%fe/logs?stdout=1",
        "/images/sha256:../../../etc/passwd/json",
    ],
)
def test_names_in_paths_are_only_names(engine, path):
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(engine.socket))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status in (400, 404), (path, answer.read())
        assert b"root:" not in answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "query",
    ["name=../../x", "name=a/b", "name=%00a", "name=.", "name=..", "name=-rf", "name=%0aevil"],
)
def test_names_of_containers(engine, query):
    status, _ = engine.request("POST", f"/containers/create?{query}", {"Image": "none"})
    assert status == 400


def test_volume_names_are_no_paths(attacker, plain):
    for name in ("../../etc", "..", ".", "a/b", "a\0b", "-x", "\n", "a" * 300):
        body = {
            "Image": plain,
            "HostConfig": {"Mounts": [{"Type": "volume", "Source": name, "Target": "/data"}]},
        }
        status, answer = attacker.engine.request("POST", "/containers/create", body)
        assert status == 400, (name, answer)
    volumes = attacker.engine.root / "volumes"
    assert not volumes.exists() or not [n for n in volumes.iterdir() if ".." in n.name]


def test_control_characters_stay_out_of_the_files_of_a_container(attacker, plain):
    """A host name or address with a newline would add lines to /etc/hosts and /etc/resolv.conf."""
    for host in (
        {"ExtraHosts": ["a:1.2.3.4\n6.6.6.6 bank.example"]},
        {"Dns": ["1.2.3.4\nnameserver 6.6.6.6"]},
        {"DnsSearch": ["x\nnameserver 6.6.6.6"]},
        {"DnsOptions": ["x\nnameserver 6.6.6.6"]},
    ):
        body = {"Image": plain, "Cmd": ["cat", "/etc/hosts", "/etc/resolv.conf"], "HostConfig": host}
        status, answer = attacker.engine.request("POST", "/containers/create", body)
        if status == 201:
            container = json.loads(answer)["Id"]
            assert attacker.start(container)[0] == 400, host
    body = {"Image": plain, "Cmd": ["true"], "Hostname": "a\n6.6.6.6 bank.example"}
    status, answer = attacker.engine.request("POST", "/containers/create", body)
    assert status == 400 or attacker.start(json.loads(answer)["Id"])[0] == 400


def test_cgroup_parents_stay_below_the_root_of_cgroups(attacker, plain, tmp_path):
    """A parent that climbs out would make directories anywhere on the host."""
    up = "../" * 12
    for parent in (f"{up}{tmp_path}/made", f"/{up}{tmp_path}/made", f"a/{up}{tmp_path}/made"):
        body = {"Image": plain, "Cmd": ["true"], "HostConfig": {"CgroupParent": parent}}
        status, answer = attacker.engine.request("POST", "/containers/create", body)
        assert status == 400 or attacker.start(json.loads(answer)["Id"])[0] >= 400
    assert list(tmp_path.glob("made*")) == []


def test_only_parameters_of_the_containers_own_namespaces(attacker, plain):
    """A slash stands for a dot within a name, so two of them would be a step up: host-wide parameters."""
    for name in ("kernel.core_pattern", "net.//.kernel.core_pattern", "net/../kernel/core_pattern", "net."):
        body = {"Image": plain, "Cmd": ["true"], "HostConfig": {"Sysctls": {name: "corten-was-here"}}}
        assert attacker.engine.request("POST", "/containers/create", body)[0] == 400, name
    body = {"Image": plain, "Cmd": ["true"], "HostConfig": {"Sysctls": {"net.ipv4.conf.lo.forwarding": "1"}}}
    assert attacker.engine.request("POST", "/containers/create", body)[0] == 201
    assert "corten" not in Path("/proc/sys/kernel/core_pattern").read_text()


def test_the_engine_lives(engine):
    """After all of that."""
    assert engine.request("GET", "/_ping")[0] == 200
