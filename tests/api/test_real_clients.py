# ruff: noqa: E501
"""docker-py and the docker CLI against the fakes: that they understand us."""

import json
import shutil
import subprocess

import docker
import pytest

CLI = shutil.which("docker") or "/usr/local/bin/docker"


@pytest.fixture
def sdk(fake):
    client = docker.DockerClient(base_url=f"unix://{fake.socket_path}", version="auto", timeout=20)
    yield client
    client.close()


def cli(fake, *arguments, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CLI, "-H", f"unix://{fake.socket_path}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_sdk(sdk):
    assert sdk.ping()
    assert sdk.version()["ApiVersion"] == "1.51"
    container = sdk.containers.create(
        "busybox", ["cat"], name="a", environment={"A": "1"}, cap_add=["SYS_ADMIN"]
    )
    container.start()
    assert container.wait()["StatusCode"] == 7
    assert container.logs() == b"hello\n"
    assert [c.name for c in sdk.containers.list(all=True)] == ["a"]
    code, output = container.exec_run(["echo", "hi"])
    assert (code, sorted(output)) == (0, sorted(b"hierr"))
    assert [line["status"] for line in sdk.api.pull("busybox", "1", stream=True, decode=True)]
    with pytest.raises(docker.errors.APIError, match="pull access denied"):
        sdk.api.pull("denied", "1")
    with pytest.raises(docker.errors.NotFound, match="No such container: none"):
        sdk.containers.get("none")
    container.remove()


def test_cli_version_and_ping(fake):
    done = cli(fake, "version", "--format", "{{json .}}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Server"]["MinAPIVersion"] == "1.24"


def test_cli_runs_a_container(fake):
    done = cli(fake, "run", "--rm", "busybox", "cat")
    assert (done.returncode, done.stdout) == (7, "hello\n")


def test_cli_pipes_through_a_container(fake):
    data = "line\n" * 20000
    done = cli(fake, "run", "-i", "--rm", "busybox", "cat", input=data)
    assert (done.returncode, done.stderr) == (0, "eof\n")
    assert done.stdout == data


def test_cli_exec(fake):
    cli(fake, "create", "--name", "a", "busybox")
    done = cli(fake, "exec", "a", "echo", "hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi", "err")
    done = cli(fake, "exec", "-i", "a", "cat", input="typed")
    assert done.stdout == "typed"


def test_cli_images_and_errors(fake):
    assert "busybox" in cli(fake, "images").stdout
    done = cli(fake, "load", input="12345")
    assert done.stdout == "Loaded 5 bytes\n"
    done = cli(fake, "pull", "denied")
    assert (done.returncode, "pull access denied" in done.stderr) == (1, True)
    done = cli(fake, "inspect", "none")
    assert (done.returncode, done.stdout) == (1, "[]\n")
    done = cli(fake, "swarm", "init")
    assert "not supported by Corten yet" in done.stderr


def test_cli_classic_build(fake, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    done = cli(fake, "build", str(tmp_path), env={"DOCKER_BUILDKIT": "0", "HOME": str(tmp_path)})
    assert (done.returncode, "Step 1/1 : FROM scratch\n ---> 0" in done.stdout) == (0, True), done.stderr
    done = cli(
        fake, "build", "--target", "fail", str(tmp_path), env={"DOCKER_BUILDKIT": "0", "HOME": str(tmp_path)}
    )
    assert done.returncode == 7
