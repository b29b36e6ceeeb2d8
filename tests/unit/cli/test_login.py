"""Logins are kept where Docker keeps them, and sent where they are needed."""

import base64
import json
import os
import stat


def test_login_pull_logout(corten, engine, tmp_path):
    engine.documents["POST /auth"] = {"Status": "Login Succeeded"}
    done = corten("login", "-u", "me", "--password-stdin", "reg.example:5000", stdin=b"s3cret\n")
    assert done.stdout == b"Login Succeeded\n"
    path = tmp_path / ".docker/config.json"
    auth = base64.b64encode(b"me:s3cret").decode()
    assert json.loads(path.read_text()) == {"auths": {"reg.example:5000": {"auth": auth}}}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    corten("pull", "reg.example:5000/x")
    header = engine.last("POST", "/images/create")[3]["x-registry-auth"]
    sent = json.loads(base64.urlsafe_b64decode(header))
    assert (sent["username"], sent["password"], sent["serveraddress"]) == ("me", "s3cret", "reg.example:5000")

    corten("pull", "busybox")
    assert "x-registry-auth" not in engine.last("POST", "/images/create")[3]

    assert corten("logout", "reg.example:5000").stdout == b"Removing login credentials for reg.example:5000\n"
    assert json.loads(path.read_text()) == {"auths": {}}
    assert corten("logout", "reg.example:5000").stdout == b"Not logged in to reg.example:5000\n"


def test_other_settings_survive(corten, engine, tmp_path):
    engine.documents["POST /auth"] = {"Status": "Login Succeeded"}
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"psFormat": "{{.ID}}", "HttpHeaders": {"a": "b"}}')
    corten("login", "-u", "me", "-p", "x")
    config = json.loads((tmp_path / ".docker/config.json").read_text())
    assert config["psFormat"] == "{{.ID}}"
    assert list(config["auths"]) == ["https://index.docker.io/v1/"]


def test_credential_helper(corten, engine, tmp_path):
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f"#!/bin/sh\ncat > {tmp_path}/$1\n" + 'echo \'{"Username":"u","Secret":"s"}\'\n')
    helper.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"credsStore": "test"}')
    engine.documents["POST /auth"] = {"Status": "Login Succeeded"}
    path = f"{tmp_path}:{os.environ['PATH']}"
    corten("login", "-u", "me", "--password-stdin", "r.example", stdin=b"pw", PATH=path)
    assert json.loads((tmp_path / "store").read_text())["Secret"] == "pw"
    assert "pw" not in (tmp_path / ".docker/config.json").read_text()
    corten("pull", "r.example/x", PATH=path)
    header = engine.last("POST", "/images/create")[3]["x-registry-auth"]
    assert json.loads(base64.urlsafe_b64decode(header))["password"] == "s"


def test_helpers_of_single_registries_and_what_the_store_knows(corten, engine, tmp_path):
    """A build gets all credentials, each from the program that keeps it; logout tells that program."""
    script = """#!/bin/sh
    read server
    echo "NAME $1 $server" >>LOG
    case $1 in
    list) echo '{"known.example": "s"}';;
    get) echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"NAME of $server\\"}";;
    esac
    """
    for name in ("one", "all"):
        helper = tmp_path / f"docker-credential-{name}"
        helper.write_text(script.replace("    ", "").replace("NAME", name).replace("LOG", f"{tmp_path}/log"))
        helper.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(
        '{"credsStore": "all", "credHelpers": {"one.example": "one"}}'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    corten("build", "-q", str(tmp_path), PATH=path, DOCKER_BUILDKIT="0")
    header = engine.last("POST", "/build")[3]["x-registry-config"]
    found = json.loads(base64.urlsafe_b64decode(header))
    assert {server: auth["identitytoken"] for server, auth in found.items()} == {
        "known.example": "all of known.example",
        "one.example": "one of one.example",
    }
    assert (
        corten("logout", "one.example", PATH=path).stdout == b"Removing login credentials for one.example\n"
    )
    assert (tmp_path / "log").read_text().splitlines()[-1] == "one erase one.example"


def test_refusals(corten):
    assert b"Must provide --username" in corten("login", "--password-stdin").stderr
    assert b"non TTY device" in corten("login").stderr
