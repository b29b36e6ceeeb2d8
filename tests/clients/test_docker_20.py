"""`docker build` of Debian bookworm's CLI (20.10): BuildKit without buildx, by POST /build?version=2."""

import base64
import io
import json
import os
import subprocess
import tarfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, socket
from urllib.parse import quote

import pytest
from plugins import PLUGINS, ends_without_leftovers

from corten.buildkit.proto.control_pb2 import StatusResponse
from engine import Engine

CLI = PLUGINS / "bookworm" / "docker"


class Old:
    """The old CLI in a directory of its own."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory

    def build(self, *arguments: str, check: bool = True, stdin: bytes = b"") -> str:
        environment = {
            **os.environ,
            "DOCKER_HOST": self.engine.docker_host,
            "DOCKER_BUILDKIT": "1",
            "DOCKER_CONFIG": str(self.directory / "config"),
            "BUILDKIT_PROGRESS": "plain",
        }
        done = subprocess.run(
            [CLI, "build", *arguments], cwd=self.directory, env=environment, input=stdin, capture_output=True
        )
        said = (done.stdout + done.stderr).decode()
        assert bool(done.returncode) != check, said
        return said


@pytest.fixture
def old(builder: Engine, tmp_path: Path) -> Old:
    if not CLI.exists():
        pytest.skip("script/plugins has not got Debian bookworm's CLI")
    (tmp_path / "f").write_text("content\n")
    (tmp_path / "left-out").write_text("")
    (tmp_path / ".dockerignore").write_text("left-*")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nARG A=0\nCOPY . /data\nRUN cat /data/f; echo a$A; ls /data\n"
    )
    return Old(builder, tmp_path)


def context(**files: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def post(engine: Engine, path: str, body: bytes = b"") -> tuple[int, list[dict]]:
    connection = HTTPConnection("engine")
    connection.sock = socket(AF_UNIX)
    try:
        connection.sock.connect(str(engine.socket))
        connection.request("POST", path, body, {"Content-Type": "application/x-tar"})
        response = connection.getresponse()
        return response.status, [json.loads(line) for line in response.read().splitlines()]
    finally:
        connection.close()


def traced(lines: list[dict]) -> list[StatusResponse]:
    found = [line["aux"] for line in lines if line.get("id") == "moby.buildkit.trace"]
    return [StatusResponse.FromString(base64.b64decode(each)) for each in found]


def test_a_directory(old):
    said = old.build("-t", "made:20", "--build-arg", "A=7", "--label", "x=y", "--iidfile", "left-iid", ".")
    for line in (
        "load build definition from Dockerfile",
        " content\n",
        " a7\n",
        "naming to docker.io/library/made:20",
    ):
        assert line in said
    assert "left-out" not in said
    inspected = json.loads(old.engine.run("docker", "inspect", "made:20").stdout)[0]
    assert inspected["Config"]["Labels"] == {"x": "y"}
    assert inspected["Id"] == (old.directory / "left-iid").read_text()
    assert "CACHED" in old.build("--build-arg", "A=7", ".")
    assert old.build("-q", "--build-arg", "A=7", "--label", "x=y", ".") == inspected["Id"] + "\n"


def test_what_comes_on_stdin(old):
    said = old.build(
        "-t",
        "made:stdin",
        "-",
        stdin=context(Dockerfile="FROM busybox\nCOPY f /\nRUN cat /f\n", f="in a tar\n"),
    )
    assert "load remote build context" in said
    assert " in a tar\n" in said
    assert " alone\n" in old.build("--no-cache", "-", stdin=b"FROM busybox\nRUN echo alone\n")


def test_files_as_the_result(old):
    old.build("-o", "out", "--target", "files", "-f", "-", ".", stdin=b"FROM scratch AS files\nCOPY f /g\n")
    assert (old.directory / "out" / "g").read_text() == "content\n"


def test_a_secret_and_a_failure(old):
    (old.directory / "secret").write_text("hidden\n")
    dockerfile = b"FROM busybox\nRUN --mount=type=secret,id=s rev /run/secrets/s\nRUN exit 7\n"
    said = old.build("--secret", "id=s,src=secret", "--no-cache", "-f-", ".", stdin=dockerfile, check=False)
    assert " neddih\n" in said
    assert said.endswith('process "/bin/sh -c exit 7" did not complete successfully: exit code: 7\n')
    missing = old.build("-f", "none", ".", check=False)
    assert missing.endswith("failed to read dockerfile: open none: no such file or directory\n")


def test_api_clients_without_a_session(builder):
    body = context(Dockerfile="FROM busybox\nCOPY f /\nRUN cat /f\n", f="by API\n")
    status, lines = post(builder, "/v1.40/build?version=2&t=made:api&nocache=1", body)
    assert status == 200
    logs = b"".join(log.data for each in traced(lines) for log in each.logs)
    assert logs == b"by API\n"
    image = json.loads(builder.run("docker", "inspect", "made:api").stdout)[0]["Id"]
    assert lines[-1] == {"id": "moby.image.id", "aux": {"ID": image}}
    assert post(builder, "/build?version=2&q=1", body)[1] == [{"stream": f"{image}\n"}]
    failed = post(builder, "/build?version=2", context(Dockerfile="FROM busybox\nRUN exit 3\n"))[1]
    message = 'process "/bin/sh -c exit 3" did not complete successfully: exit code: 3'
    assert failed[-1] == {"errorDetail": {"message": message}, "error": message}
    local = post(builder, "/build?version=2&remote=client-session")[1]
    assert local[-1]["error"] == "no local sources enabled"


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("version=3", 400, 'invalid version "3"'),
        ("isolation=hyperv", 400, 'unsupported isolation: "hyperv"'),
        ("securityopt=seccomp=unconfined", 400, "security options are not supported on linux"),
        ("buildargs=[", 400, "error reading build args: "),
        ("version=2&outputs=x", 400, "invalid outputs specified: "),
        ("version=2&networkmode=other", 400, 'network mode "other" not supported by buildkit'),
        ("version=2&outputs=[{},{}]", 400, "Type"),
        ('version=2&outputs=[{"Type":"tar"},{"Type":"tar"}]', 400, "multiple outputs not supported"),
        ("version=2&t=UPPER", 400, "must be lowercase"),
        ("version=2&platform=a/b/c/d", 400, "cannot parse platform specifier"),
    ],
)
def test_what_is_refused_at_once(builder, query, status, message):
    answer = post(builder, f"/build?{quote(query, safe='=&')}", context(Dockerfile="FROM scratch\n"))
    assert answer[0] == status
    assert message in answer[1][0]["message"]


def test_a_context_that_another_request_brings(builder):
    body = context(Dockerfile="FROM busybox\nCOPY f /\nRUN cat /f\n", f="uploaded\n")
    answers = []
    upload = threading.Thread(
        target=lambda: answers.append(post(builder, "/build?version=2&buildid=upload-request:one", body))
    )
    upload.start()
    status, lines = post(builder, "/build?version=2&buildid=one&remote=upload-request&nocache=1")
    upload.join()
    assert (status, answers) == (200, [(200, [])])
    assert lines[-1]["id"] == "moby.image.id"


def test_a_build_is_cancelled_by_its_id(builder):
    answers = []
    body = context(Dockerfile="FROM busybox\nRUN echo begun; sleep 1000\n")
    build = threading.Thread(
        target=lambda: answers.append(post(builder, "/build?version=2&buildid=two&nocache=1", body))
    )
    build.start()
    deadline = time.monotonic() + 20
    while not os.listdir(builder.exec_root / "build-steps"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert post(builder, "/build/cancel?id=two")[0] == 200
    build.join()
    assert "context canceled" in answers[0][1][-1]["error"]
    ends_without_leftovers(builder)
