"""`corten image tree` on a real engine."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from imagefiles import Sample, config, docker_archive, tar

CORTEN = str(Path(sys.executable).with_name("corten"))


@pytest.fixture
def site(new_engine: Callable[..., Engine], tmp_path: Path) -> Engine:
    """base (two layers) and same:1 with the same; one:1 and two:1 with a layer more, and deep:1 with two; other:1."""
    engine = new_engine()
    base = Sample().layers
    other = tar(("other", b"o" * 1000))
    images = {
        "base:1": base,
        "one:1": [*base, tar(("one", b"1" * 2000))],
        "two:1": [*base, tar(("two", b"2" * 3000))],
        "deep:1": [*base, tar(("one", b"1" * 2000)), tar(("deep", b"d" * 4000))],
        "other:1": [other],
        "same:1": base,
    }
    for number, (name, layers) in enumerate(images.items()):
        raw = config(*layers, created=f"2024-01-0{number + 1}T00:00:00Z")
        archive = tmp_path / "image.tar"
        archive.write_bytes(docker_archive((raw, layers, [name])))
        engine.run("docker", "load", "-q", "-i", str(archive))
    engine.run("docker", "tag", "base:1", "base:2")
    return engine


def test_families(site: Engine) -> None:
    def shown(*arguments: str) -> list[list[str]]:
        lines = site.run(CORTEN, "image", "tree", *arguments).stdout.splitlines()
        assert lines[0].split("  ")[0] == "IMAGE"
        return [line.rsplit(maxsplit=4) for line in lines[1:]]

    base = [
        ["base:1, base:2", "2", "5.01kB", "5.01kB"],
        ["├─ same:1", "2", "0B", "5.01kB"],
        ["├─ one:1", "3", "2kB", "7.01kB"],
        ["│  └─ deep:1", "4", "4kB", "11kB"],
        ["└─ two:1", "3", "3kB", "8.01kB"],
    ]
    other = [["other:1", "1", "1kB", "1kB"]]
    assert [[line[0].rstrip(), *line[2:]] for line in shown()] == [*other, *base]
    assert [[line[0].rstrip(), *line[2:]] for line in shown("deep:1")] == base
    refused = site.run(CORTEN, "image", "tree", "nothing", check=False)
    assert (refused.returncode, "No such image: nothing" in refused.stderr) == (1, True)
