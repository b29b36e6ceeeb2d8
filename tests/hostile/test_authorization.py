"""Authorization plugins see what the engine acts on, and what goes wrong is a refusal (CVE-2024-41110)."""

import json
import os
import signal
import socket
import time

import pytest

from authz_plugin import AuthorizationPlugin
from engine import Engine

_PRIVILEGED = {"privileged": 'Privileged": ?true'}


@pytest.fixture(scope="module")
def guarded(plain_archive, tmp_path_factory):
    """An engine with two plugins: `first`, `second`; an image `plain` in it."""
    directory = tmp_path_factory.mktemp("authz")
    engine = Engine({"authorization-plugins": ["first", "second"]})
    plugins = []
    try:
        folder = engine.exec_root / "plugins"
        plugins = [AuthorizationPlugin(folder, name, directory / name) for name in ("first", "second")]
        engine.start()
        archive = directory / "image.tar"
        archive.write_bytes(plain_archive)
        loaded = engine.run("docker", "load", "-q", "-i", str(archive)).stdout
        engine.run("docker", "tag", loaded.partition("ID: ")[2].strip(), "plain")
        yield engine, *plugins
    finally:
        for plugin in plugins:
            plugin.stop()
        engine.close()


@pytest.fixture
def parts(guarded):
    """(engine, first, second), allowing everything, with nothing told yet."""
    engine, *plugins = guarded
    for plugin in plugins:
        plugin.policy()
        plugin.calls()
    return engine, *plugins


def _raw(engine, data, *, timeout_s=20):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(engine.socket))
        sock.sendall(data)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer


def _create(headers, body):
    lines = [
        "POST /v1.43/containers/create?name=evil HTTP/1.1",
        "Host: x",
        "Connection: close",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


_BODY = json.dumps({"Image": "plain", "HostConfig": {"Privileged": True}}).encode()
_JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    "request_bytes",
    [
        _create([_JSON, f"Content-Length: {len(_BODY)}"], _BODY),
        _create(["Content-Type: Application/JSON; charset=x", f"Content-Length: {len(_BODY)}"], _BODY),
        _create([_JSON, "Transfer-Encoding: chunked"], b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
        _create([_JSON, "Transfer-Encoding: chunked"], b"".join(b"1\r\n%c\r\n" % c for c in _BODY) + b"0\r\n\r\n"),
        _create([_JSON, "Expect: 100-continue", f"Content-Length: {len(_BODY)}"], _BODY),
        # no length, or none at first: the engine must not read what the plugin did not
        _create([_JSON, "Content-Length: 0"], _BODY),
        _create([_JSON], _BODY),
        # a body that does not say it is JSON is not shown, and not read as JSON either
        _create([f"Content-Length: {len(_BODY)}"], _BODY),
        _create(["Content-Type: application/x-tar", f"Content-Length: {len(_BODY)}"], _BODY),
        _create(["Content-Type: text/json", f"Content-Length: {len(_BODY)}"], _BODY),
        _create([_JSON, _JSON, f"Content-Length: {len(_BODY)}"], _BODY),
        # longer than Docker's old limit of 1 MiB, and than what the engine takes
        _create([_JSON, f"Content-Length: {len(_BODY) + (2 << 20)}"], _BODY + b" " * (2 << 20)),
        _create([_JSON, f"Content-Length: {len(_BODY) + (5 << 20)}"], _BODY + b" " * (5 << 20)),
        _create([_JSON, "Transfer-Encoding: chunked"], b"%x\r\n%b\r\n500000\r\n" % (len(_BODY), _BODY) + b" " * 0x500000),
        # ambiguous lengths
        _create([_JSON, "Content-Length: 0", f"Content-Length: {len(_BODY)}"], _BODY),
        _create([_JSON, "Content-Length: 0", "Transfer-Encoding: chunked"], b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
    ],
)  # fmt: skip
def test_no_body_gets_past_the_plugins(parts, request_bytes):
    engine, first, _ = parts
    first.policy(deny={_PRIVILEGED["privileged"]: "not privileged"})
    try:
        status = int(_raw(engine, request_bytes).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")[9:12])
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # refused before everything was sent
    assert status in (400, 403, 413)
    assert engine.request("GET", "/containers/evil/json")[0] == 404


def test_a_body_beyond_a_mebibyte_is_shown_whole(parts):
    engine, first, second = parts
    labels = {f"label{i}": "x" * 1000 for i in range(2000)}
    body = {"Image": "plain", "Labels": labels, "HostConfig": {"NetworkMode": "none"}}
    assert engine.request("POST", "/containers/create?name=large", body)[0] == 201
    assert json.loads(first.calls()[0]["RequestBody"]) == body
    assert json.loads(second.calls()[0]["RequestBody"]) == body
    engine.request("DELETE", "/containers/large")


def test_the_chain_is_asked_in_order_and_ends_with_the_first_no(parts):
    engine, first, second = parts
    assert engine.request("GET", "/version")[0] == 200
    assert [call["Call"] for call in first.calls()] == ["AuthZReq", "AuthZRes"]
    assert [call["Call"] for call in second.calls()] == ["AuthZReq", "AuthZRes"]
    first.policy(deny={"/version": "go away"})
    status, answer = engine.request("GET", "/version")
    assert (status, json.loads(answer)) == (
        403, {"message": "authorization denied by plugin first: go away"}
    )  # fmt: skip
    assert second.calls() == []
    done = engine.run("docker", "version", check=False)
    assert "Error response from daemon: authorization denied by plugin first: go away" in done.stderr


def test_an_answer_can_be_kept_back(parts):
    engine, _, second = parts
    second.policy(deny_answer={"/info 200 .*ServerVersion": "secret"})
    status, answer = engine.request("GET", "/info")
    assert status == 403
    assert b"ServerVersion" not in answer
    second.policy()
    assert engine.request("GET", "/containers/nosuch/json")[0] == 404
    shown = second.calls()[-1]
    assert shown["ResponseStatusCode"] == 404
    assert "No such container" in shown["ResponseBody"]
    assert shown["ResponseHeaders"]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "path", ["/containers/x%2Fexec", "/containers/x/%65xec", "/v1.43/containers/x/%65%78%65%63"]
)
def test_one_spelling_of_a_path(parts, path):
    """A plugin that compares texts is not to be deceived by how they are escaped."""
    engine, first, _ = parts
    first.policy(deny={"^POST (/v1.43)?/containers/[^/]+/exec ": "no exec"})
    assert engine.request("POST", path, {"Cmd": ["id"]})[0] == 403


def test_secrets_are_not_shown(parts):
    engine, first, _ = parts
    head = b"POST /images/create?fromImage=localhost:1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    _raw(engine, head + b"X-Registry-Auth: c2VjcmV0\r\nAuthorization: Basic x\r\nX-Other: seen\r\n\r\n")
    engine.request("POST", "/auth", {"username": "u", "password": "p", "serveraddress": "localhost:1"})
    pull, auth = [call for call in first.calls() if call["Call"] == "AuthZReq"]
    assert pull["RequestHeaders"] == {"Connection": "close", "X-Other": "seen"}
    assert auth["RequestUri"] == "/auth"
    assert auth["RequestBody"] == ""


def test_streams_are_asked_for_once_and_flow(parts):
    engine, first, _ = parts
    shown = engine.run("docker", "run", "--rm", "--net=none", "plain", "echo", "through").stdout
    assert shown == "through\n"
    asked = [call["RequestUri"] for call in first.calls() if call["Call"] == "AuthZReq"]
    assert any("/attach?" in uri for uri in asked)
    assert any(uri.endswith("/start") for uri in asked)
    first.policy(deny={"/attach": "no looking"})
    done = engine.run("docker", "run", "--rm", "--net=none", "plain", "echo", "x", check=False)
    assert "received 403" in done.stderr  # all that the CLI says about a stream
    engine.run("sh", "-c", "docker rm -f $(docker ps -aq)", check=False)


def test_an_archive_is_passed_on_unread(parts, tmp_path):
    engine, first, _ = parts
    (tmp_path / "large").write_bytes(os.urandom(6 << 20))
    container = json.loads(engine.request("POST", "/containers/create", {"Image": "plain"})[1])["Id"]
    engine.run("docker", "cp", str(tmp_path / "large"), f"{container}:/large")
    shown = [call for call in first.calls() if call["RequestMethod"] == "PUT"]
    assert [call["RequestBody"] for call in shown] == ["", ""]
    engine.run("docker", "cp", f"{container}:/large", str(tmp_path / "back"))
    assert (tmp_path / "back").stat().st_size == 6 << 20
    engine.request("DELETE", f"/containers/{container}")


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"raw": "what?"}, "not as it should be"),
        ({"raw": '{"Allow": "yes"}'}, "not as it should be"),
        ({"raw": "[true]"}, "not as it should be"),
        ({"raw": '{"Allow": true, "Err": "broken"}'}, "broken"),
        ({"raw": '{"Allow": true}', "status": 500}, "answered 500"),
        ({"raw": "{}"}, "authorization denied by plugin first"),
    ],
)
def test_an_answer_of_a_plugin_that_is_none_is_a_no(parts, policy, text):
    engine, first, _ = parts
    first.policy(**policy)
    status, answer = engine.request("GET", "/_ping")
    assert status in (403, 500)
    assert text in answer.decode()


def test_without_the_plugin_nothing_goes_and_with_it_again_all(parts):
    engine, first, _ = parts
    first.stop()
    status, answer = engine.request("GET", "/_ping")
    assert status == 500
    assert "plugin first failed with error" in answer.decode()
    first.start()
    assert engine.request("GET", "/_ping")[0] == 200


def test_the_chain_is_changed_by_a_reload(parts):
    engine, first, second = parts
    assert json.loads(engine.request("GET", "/info")[1])["Plugins"]["Authorization"] == ["first", "second"]
    config = json.loads(engine.config_file.read_text())

    def reload(*names):
        engine.config_file.write_text(json.dumps({**config, "authorization-plugins": names}))
        os.kill(engine.pid, signal.SIGHUP)

    def asked(*names):
        deadline = time.monotonic() + 20
        while (json.loads(engine.request("GET", "/info")[1])["Plugins"]["Authorization"] or []) != [*names]:
            assert time.monotonic() < deadline
        return True

    reload("second")
    assert asked("second")
    first.calls()
    second.calls()
    engine.request("GET", "/_ping")
    assert (first.calls(), len(second.calls())) == ([], 2)
    reload("second", "missing")  # stays as it was
    deadline = time.monotonic() + 20
    while "authorization plugins not changed" not in engine.log.read_text():
        assert time.monotonic() < deadline
    assert asked("second")
    reload()
    assert asked()
    assert [engine.request("GET", "/_ping")[0] for _ in range(2)] == [200, 200]
    reload("first", "second")
    assert asked("first", "second")
    first.calls()
    engine.request("GET", "/_ping")  # of which the answer is known
    assert len(first.calls()) == 2


@pytest.mark.root
def test_an_engine_without_its_plugin_does_not_start():
    engine = Engine()
    try:
        with pytest.raises(RuntimeError, match="error validating authorization plugin: .*not found"):
            engine.start("--authorization-plugin", "missing")
    finally:
        engine.close()


@pytest.mark.parametrize(
    "body",
    [
        b'{"Image": "plain", "HostConfig": {"Privileged": true}, "HostConfig": {}}',
        b'{"Image": "plain", "HostConfig": {"Privileged": true, "Privileged": false}}',
        b'{"Image": "plain", "HostConfig": {"Privileged": true}, "\\u0048ostConfig": {}}',
        b'{"Image": "plain", "HostConfig": {"Privileged": true}, "HOSTCONFIG": {"Privileged": false}}',
    ],
)
def test_what_parsers_disagree_about_is_refused(parts, body):
    """A plugin in Go merges both, one in Python takes the last."""
    engine, first, _ = parts
    answer = _raw(engine, _create([_JSON, f"Content-Length: {len(body)}"], body))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"more than once" in answer


def test_what_plugins_in_go_read_in_any_case_is_done(parts):
    engine, _, _ = parts
    body = b'{"Image": "plain", "HOSTCONFIG": {"READONLYROOTFS": true}}'
    answer = _raw(engine, _create([_JSON, f"Content-Length: {len(body)}"], body))
    assert answer.startswith(b"HTTP/1.1 201 "), answer
    shown = json.loads(engine.run("docker", "inspect", "evil").stdout)[0]
    assert shown["HostConfig"]["ReadonlyRootfs"] is True
    engine.run("docker", "rm", "evil")
