"""Contexts that corten and the docker CLI share, and engines by ssh."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_BIN = Path(sys.executable).parent


class Shared:
    """Both programs, with one configuration folder and no address in the environment."""

    def __init__(self, engine, directory):
        self.engine = engine
        self.config = directory / "config"
        self.directory = directory

    def __call__(self, program, *arguments, check=True, **variables):
        path = f"{_BIN}:{os.environ['PATH']}"
        if "PATH" in variables:
            path = f"{variables.pop('PATH')}:{path}"
        settings = [f"DOCKER_CONFIG={self.config}", f"PATH={path}"]
        settings += [f"{name}={value}" for name, value in variables.items()]
        unset = ["-u", "DOCKER_HOST", "-u", "CORTEN_HOST", "-u", "DOCKER_CONTEXT"]
        command = ["env", "-C", str(self.directory), *unset, *settings, program, *arguments]
        return self.engine.run(*command, check=check)


@pytest.fixture
def shared(engine, tmp_path):
    return Shared(engine, tmp_path)


@pytest.mark.parametrize(("maker", "user"), [("corten", "docker"), ("docker", "corten")])
def test_what_one_makes_the_other_uses(engine, shared, maker, user):
    made = shared(
        maker, "context", "create", "mine", "--description", "here", "--docker", f"host={engine.docker_host}"
    )
    assert (made.stdout, made.stderr) == ("mine\n", 'Successfully created context "mine"\n')
    for program in (maker, user):
        assert shared(program, "--context", "mine", "info", "-f", "{{.ID}}").stdout.strip()
    assert shared(user, "context", "use", "mine").stdout == "mine\n"
    assert shared(maker, "context", "show").stdout == "mine\n"
    assert shared(user, "ps", "-q").returncode == 0
    shown = [json.loads(shared(program, "context", "inspect", "mine").stdout) for program in (maker, user)]
    assert shown[0] == shown[1]
    tables = [shared(program, "context", "ls").stdout.splitlines()[-1].split() for program in (maker, user)]
    assert tables[0] == tables[1] == ["mine", "*", "here", engine.docker_host]
    assert "is in use" in shared(user, "context", "rm", "mine", check=False).stderr
    assert shared(user, "context", "rm", "-f", "mine").stdout == "mine\n"
    assert shared(maker, "context", "show").stdout == "default\n"


def test_where_the_address_comes_from(engine, shared):
    shared("corten", "context", "create", "mine", "--docker", f"host={engine.docker_host}")
    nowhere = "unix:///nowhere.sock"
    assert shared("corten", "ps", "-q", DOCKER_CONTEXT="mine").returncode == 0
    assert "nowhere" in shared("corten", "ps", DOCKER_CONTEXT="mine", DOCKER_HOST=nowhere, check=False).stderr
    assert shared("corten", "--context", "mine", "ps", "-q", DOCKER_HOST=nowhere).returncode == 0
    both = shared("corten", "-c", "mine", "-H", nowhere, "ps", check=False)
    assert both.stderr == "conflicting options: cannot specify both --host and --context\n"
    missing = shared("corten", "--context", "missing", "ps", check=False)
    assert missing.returncode == 1
    assert 'context "missing": context not found' in missing.stderr


def test_certificates_travel_with_a_context(shared):
    for name in ("ca", "cert", "key"):
        (shared.directory / f"{name}.pem").write_text(f"the {name}")
    settings = "host=tcp://h:2376,ca=ca.pem,cert=cert.pem,key=key.pem"
    shared("corten", "context", "create", "far", "--docker", settings)
    shared("corten", "context", "export", "far")
    shared("docker", "context", "import", "copy", "far.dockercontext")
    shared("docker", "context", "export", "copy", "again.tar")
    shared("corten", "context", "import", "third", "again.tar")
    (found,) = json.loads(shared("corten", "context", "inspect", "third").stdout)
    assert found["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}
    assert found["Endpoints"]["docker"] == {"Host": "tcp://h:2376", "SkipTLSVerify": False}
    folder = Path(found["Storage"]["TLSPath"]) / "docker"
    assert (folder / "key.pem").read_text() == "the key"
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    shared("corten", "context", "update", "third", "--docker", "host=tcp://other:1", "--description", "d")
    (found,) = json.loads(shared("docker", "context", "inspect", "third").stdout)
    assert found["Endpoints"]["docker"]["Host"] == "tcp://other:1"
    assert found["Metadata"] == {"Description": "d"}
    assert found["TLSMaterial"] == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("create", "default"), '"default" is a reserved context name'),
        (("create", "../x"), "is invalid, names are validated against regexp"),
        (("create", "x1", "--docker", "host=nothing"), "unable to parse docker host"),
        (("create", "x1", "--docker", "nohost"), "must be formatted as key=value"),
        (("import", "x1", "config"), "open config"),
        (("use", "missing"), "context not found"),
        (("rm", "missing"), 'context "missing" does not exist'),
        (("rm", "default"), 'context "default" cannot be removed'),
    ],
)
def test_what_is_refused(shared, arguments, text):
    shared.config.mkdir(exist_ok=True)
    done = shared("corten", "context", *arguments, check=False)
    assert done.returncode == 1
    assert text in done.stderr


def test_an_archive_leads_nowhere_else(shared):
    import io
    import tarfile

    path = shared.directory / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("meta.json", "tls/docker/../../../../key.pem", "tls/docker/ca.pem/x", "/etc/evil"):
            data = b'{"Name": "../../x", "Endpoints": {}}'
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("tls/docker/key.pem")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    shared("corten", "context", "import", "safe", "evil.tar")
    (found,) = json.loads(shared("corten", "context", "inspect", "safe").stdout)
    assert (found["Name"], found["TLSMaterial"]) == ("safe", {})


def test_an_engine_by_ssh(engine, shared):
    """`ssh` is a program of ours that runs the command here and notes how it was called."""
    (shared.directory / "bin").mkdir()
    program = shared.directory / "bin/ssh"
    program.write_text(
        '#!/bin/sh\necho "$@" >> "$SSH_LOG"\n'
        'while [ "$1" != "--" ]; do shift; done; shift 2\n'  # what follows the host is joined by ssh
        f'PATH={_BIN}:$PATH CORTEN_HOST={engine.docker_host} DOCKER_HOST={engine.docker_host} exec sh -c "$*"\n'
    )
    program.chmod(0o755)
    variables = {"PATH": f"{shared.directory}/bin", "SSH_LOG": str(shared.directory / "log")}
    for cli in ("corten", "docker"):
        there = shared(cli, "-H", "ssh://me@far:2222", "info", "-f", "{{.ID}}", **variables)
        assert there.stdout.strip() == json.loads(engine.request("GET", "/info")[1])["ID"]
    first = (shared.directory / "log").read_text().splitlines()[0]
    assert first.startswith("-o ConnectTimeout=30 -T -l me -p 2222 -- far sh -c ")
    for host in ("ssh://me:secret@far", "ssh://-oProxyCommand=x", "ssh://"):
        refused = shared("corten", "-H", host, "ps", check=False, **variables)
        assert refused.returncode == 1
        assert "invalid ssh host" in refused.stderr


def test_dial_stdio_is_a_connection(engine):
    question = b"GET /_ping HTTP/1.0\r\n\r\n"
    command = engine.sandbox.command(str(_BIN / "corten"), "-H", engine.docker_host, "system", "dial-stdio")
    done = subprocess.run(command, input=question, capture_output=True, timeout=20)
    assert done.stdout.startswith(b"HTTP/1.1 200 OK")
    assert done.stdout.endswith(b"OK")


def test_debug_shows_the_requests(shared, engine):
    shown = shared("corten", "-D", "-H", engine.docker_host, "ps", "-q").stderr
    assert "DEBUG GET /v1.51/containers/json" in shown
    assert not shared("corten", "-l", "info", "-H", engine.docker_host, "ps", "-q").stderr
    wrong = shared("corten", "-l", "loud", "ps", check=False)
    assert (wrong.returncode, wrong.stderr) == (1, "unable to parse logging level: loud\n")
