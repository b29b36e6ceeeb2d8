"""`docker build` by the real buildx, over BuildKit's protocol."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugins import SUITES, Docker, ends_without_leftovers
from recording.images import write_all

from engine import Engine
from sandbox import child_of


@pytest.fixture(scope="module")
def builder() -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.start()
        engine.run("docker", "load", "-q", "-i", str(write_all(engine.directory)["image"]))
        yield engine
        ends_without_leftovers(engine)
    finally:
        engine.close()


@pytest.fixture(params=SUITES)
def docker(builder: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Docker:
    return Docker(builder, request.param, tmp_path)


def test_build_and_run(docker):
    docker.write({"a.txt": "aaa\n", "sub/b.txt": "bbb\n", "left-out": "no", ".dockerignore": "left-*"})
    said = docker.build(
        "FROM busybox AS base\nARG WHO\nRUN echo hello $WHO > /greeting; echo out; echo err >&2\n"
        "FROM base\nCOPY . /data/\nWORKDIR /data\nENV X=1\nLABEL a=b\nCMD cat /greeting a.txt sub/b.txt; ls\n",
        *("-t", "made:1", "--build-arg", "WHO=you", "--label", "c=d", "--no-cache"),
    )
    for line in (
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load metadata for docker.io/library/busybox:latest",
        "[base 1/2] FROM docker.io/library/busybox:latest",
        "[base 2/2] RUN echo hello $WHO > /greeting; echo out; echo err >&2",
        " out\n",
        " err\n",
        "[stage-1 1/2] COPY . /data/",
        "exporting to image",
        "naming to docker.io/library/made:1 done",
    ):
        assert line in said
    assert docker.out("run", "--rm", "made:1") == "hello you\naaa\nbbb\nDockerfile\na.txt\ndocker\nsub\n"
    found = json.loads(docker.out("inspect", "made:1"))[0]
    assert found["Config"]["Labels"] == {"a": "b", "c": "d"}
    assert found["Config"]["Env"][-1] == "X=1"


def test_the_second_build_is_cached_and_gives_the_same_image(docker):
    docker.write({"f": "same"})
    dockerfile = "FROM busybox\nRUN date +%N > /when\nCOPY f /f\n"
    first = docker.build(dockerfile, "--iidfile", "first")
    os.utime(docker.directory / "f", (1, 1))
    second = docker.build(dockerfile, "--iidfile", "second")
    assert second.count("CACHED") >= 2 > first.count("CACHED") - 1
    assert (docker.directory / "first").read_text() == (docker.directory / "second").read_text()
    docker.write({"f": "other"})
    assert docker.build(dockerfile, "-q") not in second


@pytest.mark.parametrize(
    ("dockerfile", "lines"),
    [
        (
            "FROM busybox\nRUN exit 7\n",
            [
                "   2 | >>> RUN exit 7",
                'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7',
            ],
        ),
        (
            "FROM busybox\n\nFOO x\n",
            [
                "   3 | >>> FOO x",
                "dockerfile parse error on line 3: unknown instruction: FOO (did you mean FROM?)",
            ],
        ),
        ("FROM busybox\nCOPY nope /x\n", ["   2 | >>> COPY nope /x", '"/nope": not found']),
        ("FROM busybox AS a\n", ['target stage "b" could not be found']),
    ],
)
def test_failures_show_the_place(docker, dockerfile, lines):
    said = docker.build(dockerfile, *(["--target", "b"] if "AS a" in dockerfile else []), check=False)
    for line in lines:
        assert line in said
    assert "failed to solve: " in said


def test_no_dockerfile(docker):
    done = docker.run("build", "-f", "missing", ".", check=False)
    assert done.returncode == 1
    assert "failed to read dockerfile: open missing: no such file or directory" in done.stderr


def test_dockerfile_from_stdin_and_its_own_ignore_file(docker):
    docker.write(
        {"x": "1", "y": "2", "other": "FROM busybox\nCOPY . /d\nRUN ls /d\n", "other.dockerignore": "x\n"}
    )
    said = docker.run("build", "-f", "other", "--no-cache", ".").stderr
    assert " y\n" in said
    assert " x\n" not in said


def test_an_interrupted_build_ends_its_commands(docker):
    docker.write({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 1000\n"})
    with docker.engine.popen(*docker.command("build", "--no-cache", ".")) as client:
        for line in client.stdout:
            if "begun" in line and "RUN" not in line:
                break
        os.kill(child_of(client.pid), signal.SIGINT)
        assert "CANCELED" in client.stdout.read()
    ends_without_leftovers(docker.engine)


def test_builders_are_listed(docker):
    assert "linux/amd64" in docker.out("buildx", "inspect")
    assert "default" in docker.out("buildx", "ls")
