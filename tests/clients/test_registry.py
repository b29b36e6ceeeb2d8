"""Clients of others, and ours, against our registry."""

import http.server
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from plugins import PLUGINS, SUITES

from corten.digest import digest_of
from engine import Engine
from imagefiles import Sample, docker_archive
from registry_client import Registries

pytestmark = pytest.mark.root

SAMPLE = Sample()
CORTEN_REGISTRY = str(Path(sys.executable).with_name("corten-registry"))


@pytest.fixture
def registry(tmp_path):
    registries = Registries(tmp_path)
    yield registries.start()
    registries.close()


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "image.tar"
    path.write_bytes(docker_archive((SAMPLE.config, SAMPLE.layers, ["sample:1"])))
    return path


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def skopeo(*arguments):
    assert shutil.which("skopeo"), "skopeo is installed by script/setup --dev"
    return run("skopeo", "--insecure-policy", *arguments)


def test_skopeo(registry, archive, tmp_path):
    there = f"docker://{registry.host}/team/app"
    skopeo("copy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"{there}:v1")
    skopeo("copy", "--dest-tls-verify=false", "--format=oci", f"docker-archive:{archive}", f"{there}:v2")
    assert json.loads(skopeo("list-tags", "--tls-verify=false", there))["Tags"] == ["v1", "v2"]
    assert json.loads(skopeo("inspect", "--tls-verify=false", f"{there}:v1"))["Layers"]
    skopeo("copy", "--src-tls-verify=false", f"{there}:v2", f"oci:{tmp_path}/layout:x")
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"{there}:v1",
           f"docker://{registry.host}/other/app:v1")  # fmt: skip
    skopeo("delete", "--tls-verify=false", f"{there}:v1")
    assert json.loads(skopeo("list-tags", "--tls-verify=false", there))["Tags"] == ["v2"]


def test_podman(registry, archive, tmp_path):
    run_root = tempfile.mkdtemp(prefix="cpod-")
    podman = ["podman", "--root", f"{tmp_path}/r", "--runroot", run_root, "--tmpdir", f"{tmp_path}/t",
              "--storage-driver", "vfs", "--events-backend", "file"]  # fmt: skip
    there = f"{registry.host}/podman/app:v1"
    try:
        run(*podman, "load", "-i", str(archive))
        run(*podman, "push", "--tls-verify=false", "sample:1", there)
        run(*podman, "rmi", "-af")
        run(*podman, "pull", "--tls-verify=false", there)
        assert there in run(*podman, "images", "--format", "{{.Repository}}:{{.Tag}}")
    finally:
        subprocess.run([*podman, "rmi", "-af"], capture_output=True)
        shutil.rmtree(run_root, ignore_errors=True)


def test_docker_pulls_through_our_engine(new_engine, archive, tmp_path):
    """corten-registry beside an engine, in its network namespace; the docker CLI pulls from it."""
    engine: Engine = new_engine()
    port = free_port()
    server = engine.popen(
        CORTEN_REGISTRY, "--listen", f"127.0.0.1:{port}", "--root", str(tmp_path / "r"),
        "--engine-root", str(engine.root),
    )  # fmt: skip
    try:
        assert "serving" in server.stdout.readline()
        engine.run("docker", "load", "-i", str(archive))
        before = engine.run("docker", "image", "inspect", "-f", "{{.Id}}", "sample:1").stdout
        engine.run("docker", "pull", f"127.0.0.1:{port}/sample:1")
        name = f"127.0.0.1:{port}/sample:1"
        assert engine.run("docker", "image", "inspect", "-f", "{{.Id}}", name).stdout == before
    finally:
        server.terminate()
        server.wait(timeout=20)
        server.stdout.close()


def free_port():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return server.server_address[1]


@pytest.mark.parametrize("suite", SUITES)
def test_imagetools(registry, archive, tmp_path, suite):
    """buildx makes an index of two images, of one of them again, and looks at them."""
    if not (PLUGINS / suite / ".complete").exists():
        pytest.skip(f"script/plugins has not got Debian {suite}'s plugins")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "cli-plugins").symlink_to(PLUGINS / suite / "cli-plugins")
    nowhere = ["DOCKER_HOST=unix:///nowhere.sock", f"DOCKER_CONFIG={tmp_path}/docker"]
    tools = ["env", *nowhere, "docker", "buildx", "imagetools"]
    there = f"{registry.host}/team/app"
    for form, tag in (("v2s2", "one"), ("oci", "two")):
        skopeo(
            "copy",
            "--dest-tls-verify=false",
            f"--format={form}",
            f"docker-archive:{archive}",
            f"docker://{there}:{tag}",
        )
    run(*tools, "create", "-t", f"{there}:both", f"{there}:one", f"{there}:two")
    both = json.loads(run(*tools, "inspect", "--raw", f"{there}:both"))
    one, two = (
        digest_of(run(*tools, "inspect", "--raw", f"{there}:{tag}").encode()) for tag in ("one", "two")
    )
    assert [each["digest"] for each in both["manifests"]] == [one, two]
    assert f"{there}:both@{two}" in run(*tools, "inspect", f"{there}:both")
    run(*tools, "create", "-t", f"{registry.host}/other/app:copy", f"{there}@{one}")
    copied = run(*tools, "inspect", "--format", "{{json .Image}}", f"{registry.host}/other/app:copy")
    assert json.loads(copied)["os"] == "linux"
    run(*tools, "create", "--append", "-t", f"{there}:one", f"{there}:two")
    assert len(json.loads(run(*tools, "inspect", "--raw", f"{there}:one"))["manifests"]) == 2
