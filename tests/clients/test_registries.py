"""Our client, the docker CLI and skopeo over Debian's docker-registry."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recording.session import Session

from engine import Engine

REGISTRY = "127.0.0.1:28502"
CLOSED = "127.0.0.1:28503"
CORTEN = str(Path(sys.executable).with_name("corten"))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def registries(engine: Engine, session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One that is open, and one for user:secret."""
    directory = tmp_path_factory.mktemp("registry")
    (directory / "htpasswd").write_text(
        subprocess.run(
            ["htpasswd", "-Bbn", "user", "secret"], check=True, capture_output=True, text=True
        ).stdout
    )
    started = []
    for address, more in (
        (REGISTRY, ""),
        (CLOSED, f"auth: {{htpasswd: {{realm: r, path: {directory}/htpasswd}}}}"),
    ):
        config = directory / f"{address}.yml"
        root = directory / address.partition(":")[2]
        config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: {address}}}\n{more}\n"
        )
        serve = f"exec docker-registry serve {config} >{root}.log 2>&1"  # it stops when nobody reads
        started.append(engine.popen("sh", "-c", serve))
        deadline = time.monotonic() + 20
        while engine.run("curl", "-s", f"http://{address}/v2/", check=False).returncode:
            assert time.monotonic() < deadline
    yield
    for process in started:
        # In a pid namespace of its own: its child is the registry.
        subprocess.run(
            ["kill", *Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        )
        process.communicate()


@pytest.fixture
def run(engine: Engine, session: Session, registries: None, tmp_path: Path) -> Run:
    """Run a command with a configuration of its own; the session's busybox is there."""
    session.clean()

    def command(*arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return engine.run("env", f"DOCKER_CONFIG={tmp_path}", *arguments, check=check)

    return command


@pytest.mark.parametrize("cli", ["docker", CORTEN])
def test_push_and_pull(run: Run, cli: str) -> None:
    name = f"{REGISTRY}/{Path(cli).name}/bb:1"
    run(cli, "tag", "busybox", name)
    first = run(cli, "push", name).stdout.splitlines()
    assert first[0] == f"The push refers to repository [{name.removesuffix(':1')}]"
    assert first[-1].startswith("1: digest: sha256:")
    again = run(cli, "push", name).stdout
    assert "Layer already exists" in again and again.splitlines()[-1] == first[-1]
    image = run(cli, "image", "inspect", "-f", "{{.Id}}", name).stdout
    run(cli, "rmi", name)
    assert run(cli, "pull", "-q", name).stdout.strip() == name
    assert run(cli, "image", "inspect", "-f", "{{.Id}}", name).stdout == image
    digest = first[-1].split()[2]
    assert digest in run(cli, "images", "--digests", name.removesuffix(":1")).stdout
    assert (
        run("skopeo", "inspect", "--tls-verify=false", "-f", "{{.Digest}}", f"docker://{name}").stdout.strip()
        == digest
    )


@pytest.mark.parametrize("cli", ["docker", CORTEN])
def test_credentials(run: Run, cli: str) -> None:
    name = f"{CLOSED}/{Path(cli).name}"
    run(cli, "tag", "busybox", name)
    assert "no basic auth credentials" in run(cli, "push", name, check=False).stderr
    wrong = run(cli, "login", "-u", "user", "-p", "wrong", CLOSED, check=False)
    assert f"login attempt to http://{CLOSED}/v2/ failed with status: 401 Unauthorized" in wrong.stderr
    assert "Login Succeeded" in run(cli, "login", "-u", "user", "-p", "secret", CLOSED).stdout
    run(cli, "push", "-q", name)
    run(cli, "logout", CLOSED)
    failed = run(cli, "pull", name, check=False)
    assert (
        f'Head "http://{name.replace("/", "/v2/")}/manifests/latest": no basic auth credentials'
        in failed.stderr
    )


def test_what_skopeo_put_there(run: Run, tmp_path: Path) -> None:
    """zstd and OCI, pulled and pushed on byte for byte."""
    zstd, copied = (f"{REGISTRY}/skopeo/{name}:1" for name in ("zstd", "copied"))
    archive = tmp_path / "busybox.tar"
    run("docker", "save", "-o", str(archive), "busybox")
    run(
        "skopeo",
        "copy",
        "--dest-tls-verify=false",
        "--format",
        "oci",
        "--dest-compress-format",
        "zstd",
        f"docker-archive:{archive}",
        f"docker://{zstd}",
    )
    run("docker", "pull", "-q", zstd)
    run("docker", "tag", zstd, copied)
    run("docker", "push", "-q", copied)
    raw = ("skopeo", "inspect", "--raw", "--tls-verify=false")
    assert "tar+zstd" in run(*raw, f"docker://{zstd}").stdout
    assert run(*raw, f"docker://{zstd}").stdout == run(*raw, f"docker://{copied}").stdout
    assert run("docker", "run", "--rm", copied, "echo", "ran").stdout == "ran\n"


def test_manifest_lists(run: Run) -> None:
    for tag in ("1", "2"):
        run("docker", "tag", "busybox", f"{REGISTRY}/m/bb:{tag}")
        run("docker", "push", "-q", f"{REGISTRY}/m/bb:{tag}")
    target = f"{REGISTRY}/m/list:1"
    created = run(CORTEN, "manifest", "create", target, f"{REGISTRY}/m/bb:1", f"{REGISTRY}/m/bb:2")
    assert created.stdout == f"Created manifest list {target}\n"
    refused = run(CORTEN, "manifest", "create", target, f"{REGISTRY}/m/bb:1", check=False)
    assert "refusing to amend an existing manifest list with no --amend flag" in refused.stderr
    run(CORTEN, "manifest", "annotate", "--arch", "arm64", "--variant", "v8", target, f"{REGISTRY}/m/bb:2")
    shown = run(CORTEN, "manifest", "inspect", target).stdout
    digest = run(CORTEN, "manifest", "push", "--purge", target).stdout.splitlines()[-1]
    assert digest.startswith("sha256:")
    there = run("docker", "manifest", "inspect", "--insecure", target).stdout
    assert [m["platform"] for m in json.loads(there)["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux", "variant": "v8"},
    ]
    assert json.loads(shown) == json.loads(there)
    assert run(CORTEN, "manifest", "rm", target, check=False).returncode == 1
    assert "is a manifest list" in run(CORTEN, "manifest", "create", f"{target}0", target, check=False).stderr


def test_image_cp(run: Run, tmp_path: Path) -> None:
    first, second = f"{REGISTRY}/cp/one:1", f"{REGISTRY}/cp/two:2"
    run(CORTEN, "image", "cp", "busybox", f"docker://{first}")
    digest = run(CORTEN, "image", "cp", f"docker://{first}", f"docker://{second}").stdout.strip()
    assert (
        run(
            "skopeo", "inspect", "--tls-verify=false", "-f", "{{.Digest}}", f"docker://{second}"
        ).stdout.strip()
        == digest
    )
    run(CORTEN, "image", "cp", f"docker://{second}", "store://copied:3")
    archive = tmp_path / "archive.tar"
    run(CORTEN, "image", "cp", "copied:3", f"docker-archive:{archive}")
    run(CORTEN, "rmi", "copied:3")
    run(CORTEN, "image", "cp", f"docker-archive:{archive}", "store://")
    assert run("docker", "run", "--rm", "copied:3", "echo", "copied").stdout == "copied\n"


def test_image_cp_without_the_store(run: Run, tmp_path: Path) -> None:
    """Registry, archive, layout and back: the same digest everywhere, and nothing in the engine."""
    first, second, third = (f"{REGISTRY}/cp/{name}" for name in ("a:1", "b:1", "c:1"))
    run(CORTEN, "image", "cp", "busybox", f"docker://{first}")
    before = run("docker", "images", "-q", "--no-trunc").stdout
    archive, layout = tmp_path / "a.tar", tmp_path / "layout"
    run(CORTEN, "image", "cp", f"docker://{first}", f"oci-archive:{archive}")
    digest = run(CORTEN, "image", "cp", f"docker-archive:{archive}", f"docker://{second}").stdout
    run(CORTEN, "image", "cp", f"docker://{second}", f"oci:{layout}:one")
    run(CORTEN, "image", "cp", f"docker://{second}", f"oci:{layout}:two")
    assert run(CORTEN, "image", "cp", f"oci:{layout}:two", f"docker://{third}").stdout == digest
    inspect = ("skopeo", "inspect", "-f", "{{.Digest}}")
    for place in (f"oci:{layout}:one", f"oci-archive:{archive}"):
        assert run(*inspect, place).stdout == digest
    assert run(*inspect, "--tls-verify=false", f"docker://{third}").stdout == digest
    assert run("docker", "images", "-q", "--no-trunc").stdout == before


def test_image_cp_of_layouts(run: Run, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    run("docker", "tag", "busybox", "mine:1")
    run(CORTEN, "image", "cp", "mine:1", f"oci:{layout}")
    run("docker", "rmi", "mine:1")
    assert "Loaded image: mine:1" in run(CORTEN, "image", "cp", f"oci:{layout}", "store://").stdout
    assert run("docker", "run", "--rm", "mine:1", "echo", "here").stdout == "here\n"
    for source, problem in (
        (f"oci:{tmp_path}/nothing", "is no OCI layout"),
        (f"oci:{layout}:other", "no image 'other' in the layout"),
        (f"docker-archive:{tmp_path}/nothing", "no such file or directory"),
    ):
        failed = run(CORTEN, "image", "cp", source, f"docker://{REGISTRY}/cp/x:1", check=False)
        assert failed.returncode == 1
        assert problem in failed.stderr
    missing = run(
        CORTEN, "image", "cp", f"docker://{REGISTRY}/cp/none:1", f"oci-archive:{tmp_path}/x", check=False
    )
    assert "manifest unknown" in missing.stderr or "name unknown" in missing.stderr


def test_image_cp_between_files(run: Run, tmp_path: Path) -> None:
    """Archives of both forms and layouts, one made of the other, as skopeo sees them; no registry has a part in it."""
    archive, again, back = (f"{tmp_path}/{name}.tar" for name in ("docker", "oci", "back"))
    one, two = f"{tmp_path}/one", f"{tmp_path}/two"
    run("docker", "tag", "busybox", "mine:1")
    run("docker", "save", "-o", archive, "mine:1")
    for source, target in (
        (f"docker-archive:{archive}:mine:1", f"oci:{one}:x"),
        (f"oci:{one}:x", f"oci-archive:{again}:mine:2"),
        (f"oci-archive:{again}", f"oci:{two}:y"),
        (f"oci:{one}:x", f"oci:{two}:z"),
        (f"oci:{two}:z", f"docker-archive:{back}:mine:3"),
    ):
        run(CORTEN, "image", "cp", source, target)
    inspect = ("skopeo", "inspect", "-f", "{{.Digest}}")
    digests = {run(*inspect, place).stdout for place in (f"oci:{one}:x", f"oci:{two}:y", f"oci:{two}:z")}
    assert len(digests) == 1
    run("docker", "rmi", "mine:1")
    assert "Loaded image: mine:3" in run("docker", "load", "-i", back).stdout
    assert run("docker", "run", "--rm", "--network", "none", "mine:3", "echo", "here").stdout == "here\n"
    run("docker", "rmi", "mine:3")
    for source, problem in (
        (f"docker-archive:{archive}:other:1", 'no image "other:1"'),
        (f"oci:{one}:other", "no image 'other' in the layout"),
        (f"docker-archive:{tmp_path}/nothing", "no such file or directory"),
    ):
        failed = run(CORTEN, "image", "cp", source, f"oci-archive:{tmp_path}/x", check=False)
        assert (failed.returncode, problem in failed.stderr) == (1, True), failed.stderr
