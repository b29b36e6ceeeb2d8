"""Cache mounts of builds: as volumes, in `du`, and pruned."""

import json
import sys
from pathlib import Path

import pytest
from plugins import SUITES, Docker

from engine import Engine

CORTEN = str(Path(sys.executable).with_name("corten"))


@pytest.fixture
def docker(builder: Engine, tmp_path) -> Docker:
    return Docker(builder, SUITES[0], tmp_path)


def use(command, mount="id=volume:packages"):
    return f"FROM busybox\nRUN --mount=type=cache,{mount},target=/c {command}\n"


def test_a_cache_mount_can_be_a_volume(docker):
    docker.build(use("echo kept > /c/f"), "--no-cache")
    assert docker.out("run", "--rm", "-v", "packages:/x", "busybox", "cat", "/x/f") == "kept\n"
    found = json.loads(docker.out("volume", "inspect", "packages"))[0]
    assert "corten.build-cache" in found["Labels"]
    docker.engine.run(CORTEN, "volume", "export", "-o", str(docker.directory / "packages.tar"), "packages")
    docker.out("volume", "rm", "packages")
    docker.engine.run(CORTEN, "volume", "import", "packages", str(docker.directory / "packages.tar"))
    refused = docker.build(use("true"), "--no-cache", check=False)  # nobody has said that it is a cache
    assert "volume packages is no build cache: make it with `corten volume create --label" in refused


def test_other_volumes_are_out_of_reach(docker):
    docker.out("volume", "create", "precious")
    told = docker.build(use("ls /c", "id=volume:precious"), "--no-cache", check=False)
    assert "volume precious is no build cache" in told
    for name in ("../x", "a/b", ""):
        assert "volume" in docker.build(use("true", f"id=volume:{name}"), "--no-cache", check=False)


def test_a_new_volume_belongs_to_whom_the_command_says(docker):
    docker.build(use("stat -c '%u:%g %a' /c > /c/f", "id=volume:theirs,uid=7,gid=8,mode=0750"), "--no-cache")
    assert docker.out("run", "--rm", "-v", "theirs:/x", "busybox", "cat", "/x/f") == "7:8 750\n"
    told = docker.build(use("true", "id=volume:theirs,from=busybox"), "--no-cache", check=False)
    assert "a cache mount that is a volume cannot begin with other files" in told


def test_one_after_the_other_has_a_locked_volume_whatever_it_asks_for(docker):
    mount = "type=cache,target=/c,sharing=locked,id=volume:lock"
    run = "mkdir /c/held && sleep 0.3 && rmdir /c/held"
    docker.write(
        {
            "Dockerfile": f"FROM busybox AS one\nRUN --mount={mount} {run} && touch /one\n"
            f"FROM busybox AS two\nRUN --mount={mount},mode=0700 {run} && touch /two\n"
            "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
        }
    )
    docker.out("buildx", "build", "--no-cache", "--progress=plain", ".")


def test_cache_mounts_are_told_of_and_pruned(docker):
    docker.build(use("head -c 4000000 /dev/zero > /c/f", "id=big"), "--no-cache")
    told = docker.out("buildx", "du", "--verbose", "--filter", "type=exec.cachemount")
    assert "cached mount with id 'big'" in told
    assert "4MB" in told
    assert "4MB" in docker.engine.run(CORTEN, "builder", "du").stdout
    kept = docker.out("builder", "prune", "-f", "--filter", "type=regular")
    assert "4MB" not in kept
    docker.out("builder", "prune", "-f", "--filter", "type=exec.cachemount")
    assert docker.out("buildx", "du", "--filter", "type=exec.cachemount").count("MB") == 0
    docker.build(use("test ! -e /c/f", "id=big"), "--no-cache")
