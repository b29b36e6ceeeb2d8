"""The script parts of examples/ci, run as a CI job would: they build, and what they push can be pulled."""

import http.server
import os
import sys
from pathlib import Path

import pytest
import yaml

from engine import Engine

ROOT = Path(__file__).parents[2]
REGISTRY = str(Path(sys.executable).with_name("corten-registry"))
DOCKERFILE = "FROM scratch\nARG VERSION=dev\nCOPY busybox /bin/busybox\nENV VERSION=$VERSION\n"


@pytest.fixture
def job(new_engine, tmp_path):
    """job(lines, **variables): run them in a checkout with a registry of its own; returns the registry."""
    engine: Engine = new_engine()
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        host = f"127.0.0.1:{server.server_address[1]}"
    registry = engine.popen(REGISTRY, "--listen", host, "--root", str(tmp_path / "registry"))
    assert "serving" in registry.stdout.readline()
    bin = tmp_path / "bin"
    bin.mkdir()
    cli = ROOT / "src/corten/cli/__main__.py"
    for name, text in (("corten", f'exec {sys.executable} -I -S {cli} "$@"'), ("sudo", 'exec "$@"')):
        (bin / name).write_text(f"#!/bin/sh\n{text}\n")
        os.chmod(bin / name, 0o755)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "Dockerfile").write_text(DOCKERFILE)
    (checkout / "busybox").write_bytes(Path("/bin/busybox").read_bytes())

    def run(script, **variables):
        given = {"HOME": str(tmp_path), **{k: v.replace("REGISTRY", host) for k, v in variables.items()}}
        words = [f"{key}={value}" for key, value in given.items()]
        shell = f"set -e; cd {checkout}; PATH={bin}:$PATH\n{script}"
        done = engine.run("env", *words, "sh", "-c", shell, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return engine, host

    yield run
    registry.terminate()
    registry.wait(timeout=20)
    registry.stdout.close()


def pulled(engine, name):
    engine.run("docker", "rmi", "-f", name)
    engine.run("docker", "pull", "-q", name)
    return engine.run("docker", "image", "inspect", "-f", "{{.Config.Env}}", name).stdout


def test_gitlab(job):
    document = yaml.safe_load((ROOT / "examples/ci/gitlab-ci.yml").read_text())
    engine, host = job(
        "\n".join(document["build"]["script"]),
        CI_REGISTRY="REGISTRY",
        CI_REGISTRY_IMAGE="REGISTRY/group/app",
        CI_REGISTRY_USER="user",
        CI_REGISTRY_PASSWORD="password",
        CI_COMMIT_SHORT_SHA="abc123",
    )
    assert "VERSION=abc123" in pulled(engine, f"{host}/group/app:abc123")
    assert "VERSION=abc123" in pulled(engine, f"{host}/group/app:latest")


def test_github(job):
    document = yaml.safe_load((ROOT / "examples/ci/github-actions.yml").read_text())
    (step,) = [step for step in document["jobs"]["build"]["steps"] if step.get("name") == "Build and push"]
    engine, host = job(
        step["run"],
        REGISTRY="REGISTRY",
        IMAGE="REGISTRY/owner/app",
        REGISTRY_USER="user",
        REGISTRY_TOKEN="token",
        GITHUB_SHA="abc123",
    )
    assert "VERSION=dev" in pulled(engine, f"{host}/owner/app:abc123")
