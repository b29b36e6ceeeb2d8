"""The build cache carried from one engine to another by the real buildx: --cache-to and --cache-from."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugins import REGISTRY, SUITES, Docker, ends_without_leftovers, registry
from recording.images import write_all

from engine import Engine

CORTEN = Path(__file__).parents[2] / "src/corten/cli/__main__.py"
DOCKERFILE = (
    "FROM busybox AS base\nRUN date +%N > /when && head -c 100000 /dev/urandom > /noise\n"
    "FROM base AS tool\nRUN date +%N > /tool && cat /noise > /more\n"
    "FROM base\nCOPY f /f\nCOPY --from=tool /tool /tool\nRUN cat /f /tool > /all\nCMD cat /all\n"
)
STEPS = 5


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Engine]]:
    """Two engines that share a registry."""
    first, second = Engine(), Engine()
    directory = tmp_path_factory.mktemp("registry")
    try:
        for engine in (first, second):
            engine.start()
            engine.run("docker", "load", "-q", "-i", str(write_all(engine.directory)["image"]))
        with registry(first, directory), registry(second, directory):
            yield first, second
        for engine in (first, second):
            ends_without_leftovers(engine)
            assert "Traceback" not in engine.log.read_text()
    finally:
        first.close()
        second.close()


@pytest.fixture(params=SUITES)
def pair(
    engines: tuple[Engine, Engine], tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[Docker, Docker]:
    """buildx on either engine; neither has built anything yet."""
    found = []
    for name, engine in zip("ab", engines, strict=True):
        docker = Docker(engine, request.param, tmp_path / name)
        docker.write({"f": "content\n"})
        forget(docker)
        found.append(docker)
    return found[0], found[1]


def forget(docker: Docker) -> None:
    """Nothing of any build is left but what was loaded."""
    for image in docker.out("images", "-q", "--no-trunc").split():
        if image != docker.out("images", "-q", "--no-trunc", "busybox").strip():
            docker.run("rmi", "-f", image)
    docker.run("buildx", "prune", "-a", "-f")


def cached(said: str) -> int:
    """How many steps of the Dockerfile were cached."""
    return len(set(re.findall(r"^#(\d+) CACHED$", said, re.M)))


def same_image(one: Docker, other: Docker, name: str = "made") -> bool:
    """Whether both have built the same, and it runs on both."""
    assert one.out("run", "--rm", name) == other.out("run", "--rm", name)
    return one.out("inspect", "-f", "{{.Id}}", name) == other.out("inspect", "-f", "{{.Id}}", name)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_directory(pair, tmp_path, mode):
    one, other = pair
    said = one.build(DOCKERFILE, "-t", "made", "--cache-to", f"type=local,dest={tmp_path}/cache,mode={mode}")
    assert "exporting cache to client directory" in said
    said = other.build(DOCKERFILE, "-t", "made", "--cache-from", f"type=local,src={tmp_path}/cache")
    assert cached(said) == STEPS
    assert same_image(one, other)


@pytest.mark.parametrize("more", [",mode=max", ",mode=min,image-manifest=false"])
def test_a_registry(pair, more):
    one, other = pair
    place = f"type=registry,ref={REGISTRY}/cache:{pair[0].directory.parent.name}"
    assert "exporting cache to registry" in one.build(DOCKERFILE, "-t", "made", "--cache-to", place + more)
    assert cached(other.build(DOCKERFILE, "-t", "made", "--cache-from", place)) == STEPS
    assert same_image(one, other)
    forget(one)
    # What was imported and never needed is exported again.
    again = place.replace("/cache:", "/again:")
    other.build(DOCKERFILE, "--cache-from", place, "--cache-to", f"{again}{more}")
    assert cached(one.build(DOCKERFILE, "-t", "made", "--cache-from", again)) == STEPS
    assert same_image(one, other)


def test_inside_the_image(pair):
    one, other = pair
    name = f"{REGISTRY}/inline:{one.directory.parent.name}"
    one.build(DOCKERFILE, "-t", name, "--cache-to", "type=inline", "--push")
    said = other.build(DOCKERFILE, "-t", name, "--cache-from", name, "--cache-to", "type=inline")
    assert cached(said) == STEPS
    assert same_image(one, other, name)
    # An image that is here is a cache as well.
    other.run("buildx", "prune", "-a", "-f")
    assert cached(other.build(DOCKERFILE, "--cache-from", name, "-o", "type=cacheonly")) == STEPS


def test_steps_that_have_made_the_same_layer(pair):
    """The copy of all that a command has made is a layer of the same bytes, made at another time."""
    one, other = pair
    name = f"{REGISTRY}/twice:{one.directory.parent.name}"
    dockerfile = "FROM busybox AS s\nRUN date +%N > /s\nFROM busybox\nCOPY --from=s /s /s\nCMD cat /s\n"
    one.build(dockerfile, "-t", name, "--cache-to", "type=inline", "--push")
    said = other.build(dockerfile, "-t", name, "--cache-from", name, "--cache-to", "type=inline")
    assert cached(said) == 2
    assert same_image(one, other, name)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_change_makes_anew_what_it_concerns(pair, tmp_path, mode):
    """Of what was not sent along, the files come from doing the work after all."""
    one, other = pair
    one.build(DOCKERFILE, "-t", "made", "--cache-to", f"type=local,dest={tmp_path}/cache,mode={mode}")
    changed = DOCKERFILE.replace("COPY --from=tool /tool /tool", "COPY --from=tool /more /tool")
    said = other.build(changed, "-t", "made", "--cache-from", f"type=local,src={tmp_path}/cache")
    assert cached(said) == STEPS - 2
    show = ("run", "--rm", "made", "sh", "-c")
    assert other.out(*show, "cmp /noise /tool && cat /when") == one.out(*show, "cat /when")


@pytest.mark.parametrize("kind", ["registry", "inline"])
def test_our_own_client(pair, kind):
    """`corten build` writes and reads the same caches."""
    one, other = pair
    name = f"{REGISTRY}/own:{one.directory.parent.name}"
    to = f"type=registry,ref={name},mode=max" if kind == "registry" else "type=inline"
    corten = [sys.executable, "-I", "-S", str(CORTEN)]
    one.write({"Dockerfile": DOCKERFILE})
    other.write({"Dockerfile": DOCKERFILE})
    command = ["env", "-C", str(one.directory), *corten, "build", "-t", "made", "--cache-to", to, "."]
    assert one.engine.run(*command).returncode == 0
    if kind == "inline":
        one.run("tag", "made", name)
        one.run("push", name)
    command = ["env", "-C", str(other.directory), *corten, "build", "-t", "made", "--cache-from", name, "."]
    assert other.engine.run(*command).stderr.count(" CACHED\n") == STEPS
    if kind == "registry":
        assert same_image(one, other)
        forget(one)
        assert cached(one.build(DOCKERFILE, "--cache-from", f"type=registry,ref={name}")) == STEPS


def test_without_cache_and_without_a_cache(pair, tmp_path):
    one, _ = pair
    place = f"type=local,dest={tmp_path}/cache,mode=max"
    one.build(DOCKERFILE, "--cache-to", place)
    place = place.replace("dest", "src").removesuffix(",mode=max")
    assert cached(one.build(DOCKERFILE, "--no-cache", "--cache-from", place)) == 0
    said = one.build("FROM busybox\n", "--cache-from", f"{REGISTRY}/nothing-there")
    assert f"importing cache manifest from {REGISTRY}/nothing-there" in said


def test_a_layer_that_is_gone_is_made_again(pair, tmp_path):
    one, other = pair
    one.build(DOCKERFILE, "-t", "made", "--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
    blobs = sorted((tmp_path / "cache/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blobs[-1].write_bytes(b"something else")
    blobs[-2].unlink()
    said = other.build(DOCKERFILE, "-t", "made", "--cache-from", f"type=local,src={tmp_path}/cache")
    assert "naming to" in said
    assert other.out("run", "--rm", "made").startswith("content\n")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--cache-to=type=gha,token=x,url=http://127.0.0.1:1/",
            "type=gha is not supported by Corten: use registry or local",
        ),
        (
            "--cache-to=type=s3,region=x,bucket=y,access_key_id=x,secret_access_key=y",
            "type=s3 is not supported",
        ),
        ("--cache-from=type=azblob,name=x,account_url=y", "type=azblob is not supported"),
        ("--cache-to=type=registry,ref=x/y,compression=zstd", "compression=zstd of a cache is not supported"),
        ("--cache-to=type=inline,mode=most", "unsupported cache mode 'most'"),
    ],
)
def test_what_would_be_ignored_is_refused(pair, option, message):
    assert message in pair[0].build("FROM busybox\n", option, check=False)


def test_hostile_caches(pair, tmp_path):
    """A cache that lies costs the build nothing but the work that it would have saved."""
    one, other = pair
    one.build(DOCKERFILE, "--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
    index = json.loads((tmp_path / "cache/index.json").read_text())
    blobs = tmp_path / "cache/blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    config = blobs / manifest["config"]["digest"][7:]
    config.write_bytes(config.read_bytes()[:-5])
    said = other.build(DOCKERFILE, "--cache-from", f"type=local,src={tmp_path}/cache", "-t", "made")
    assert cached(said) == 0
    assert "is something else" in said
