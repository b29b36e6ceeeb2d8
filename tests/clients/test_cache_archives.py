"""`corten builder export` and `import`, and caches of type=local of `corten build`."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from plugins import SUITES, Docker

from engine import Engine

CORTEN = str(Path(sys.executable).with_name("corten"))
DOCKERFILE = """FROM busybox AS first
RUN echo one > /one
FROM busybox
COPY --from=first /one /
RUN echo two > /two
"""


class Corten:
    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine, self.directory = engine, directory
        (directory / "Dockerfile").write_text(DOCKERFILE)
        self.run("builder", "prune", "-af")

    def run(self, *arguments, check=True):
        done = self.engine.run("env", "-C", str(self.directory), CORTEN, *arguments, check=check)
        return done.stdout + done.stderr

    def cached(self, *arguments):
        """How many steps of a build were not done again."""
        return self.run("build", "--progress=plain", *arguments, ".").count("CACHED")


@pytest.fixture
def corten(builder, tmp_path):
    return Corten(builder, tmp_path)


def test_a_whole_cache_goes_through_a_file(corten):
    assert corten.cached() == 0
    corten.run("builder", "export", "-o", "cache.tar")
    corten.run("buildx", "prune", "-af")
    assert corten.run("builder", "import", "cache.tar") == "Imported build cache records: 4\n"
    assert corten.cached() == 3


def test_a_local_cache_of_all_steps_or_of_the_result(corten, builder):
    assert (
        corten.cached("--cache-to", "type=local,dest=all,mode=max", "--cache-to", "type=local,dest=result")
        == 0
    )
    layers = {
        name: len(list((corten.directory / name / "blobs" / "sha256").iterdir()))
        for name in ("all", "result")
    }
    assert layers["all"] >= layers["result"]
    corten.run("builder", "prune", "-af")
    assert corten.cached("--cache-from", "type=local,src=all") == 3
    corten.run("builder", "prune", "-af")
    assert corten.cached("--cache-from", "type=local,src=result") >= 2
    corten.run("builder", "prune", "-af")
    corten.run(
        "build", "-q", "--cache-from", "type=local,src=all", "--cache-to", "type=local,dest=quiet", "."
    )
    assert (corten.directory / "quiet/index.json").exists()
    told = corten.run("build", "--cache-from", "type=local,src=none", ".")
    assert "WARNING: no build cache in none" in told


@pytest.mark.parametrize("suite", SUITES)
def test_buildx_reads_it_and_is_read(corten, builder, suite):
    corten.cached("--cache-to", "type=local,dest=cache,mode=max")
    corten.run("builder", "prune", "-af")
    docker = Docker(builder, suite, corten.directory)
    told = docker.run("buildx", "build", "--cache-from", "type=local,src=cache", ".").stderr
    assert told.count("CACHED") == 3
    corten.run("builder", "prune", "-af")
    docker.run("buildx", "build", "--cache-to", "type=local,dest=theirs,mode=max", ".")
    corten.run("builder", "prune", "-af")
    assert corten.cached("--cache-from", "type=local,src=theirs") == 3


@pytest.mark.parametrize("what", ["nothing", "a blob", "an index"])
def test_archives_that_are_none(corten, what):
    corten.cached()
    corten.run("builder", "export", "-o", "good.tar")
    subprocess.run(["tar", "-xf", "good.tar"], cwd=corten.directory, check=True)
    if what == "nothing":
        (corten.directory / "bad.tar").write_bytes(b"no archive")
    else:
        manifest = json.loads((corten.directory / "index.json").read_text())["manifests"][0]
        path = corten.directory / "blobs" / "sha256" / manifest["digest"].partition(":")[2]
        if what == "a blob":
            path.write_bytes(path.read_bytes() + b" ")
        else:
            (corten.directory / "index.json").write_text('{"manifests": 7}')
        with tarfile.open(corten.directory / "bad.tar", "w") as tar:
            for name in ("index.json", "oci-layout", "blobs"):
                tar.add(corten.directory / name, name)
    told = corten.run("builder", "import", "bad.tar", check=False)
    assert "Error response from daemon" in told
    assert "internal error" not in told


def test_an_archive_does_not_replace_what_the_engine_knows(corten):
    corten.cached()
    corten.run("builder", "export", "-o", "first.tar")
    corten.run("builder", "prune", "-af")
    corten.run("build", "--no-cache", "-t", "own", ".")
    before = corten.run("image", "inspect", "-f", "{{.Id}}", "own")
    corten.run("builder", "import", "first.tar")
    corten.run("build", "-t", "again", ".")
    assert corten.run("image", "inspect", "-f", "{{.Id}}", "again") == before


def test_an_archive_of_too_many_caches(corten):
    corten.cached()
    corten.run("builder", "export", "-o", "good.tar")
    subprocess.run(["tar", "-xf", "good.tar"], cwd=corten.directory, check=True)
    index = json.loads((corten.directory / "index.json").read_text())
    index["manifests"] *= 1000
    (corten.directory / "index.json").write_text(json.dumps(index))
    subprocess.run(
        ["tar", "-cf", "bad.tar", "index.json", "oci-layout", "blobs"], cwd=corten.directory, check=True
    )
    assert "more than 16 caches" in corten.run("builder", "import", "bad.tar", check=False)


def test_the_builder_is_shown_as_buildx_shows_its(corten, builder):
    listed = corten.run("buildx", "ls").splitlines()
    assert [line.split()[0] for line in listed] == ["NAME/NODE", "default*", "\\_"]
    assert "running" in listed[2]
    assert "Driver: docker" in " ".join(corten.run("builder", "inspect").split())
    assert 'no builder "other" found' in corten.run("builder", "inspect", "other", check=False)
