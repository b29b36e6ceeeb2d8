"""corten system fsck: what it finds, what it repairs, and df beside du."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from corten.filters import Filters
from corten.images.check import StoreCheck
from corten.images.removal import Remover
from imagefiles import Sample, docker_archive, sha256
from registry_server import Registry

SAMPLE = Sample()
SAMPLE_2 = Sample(b"another")
CORTEN = str(Path(sys.executable).with_name("corten"))


@pytest.fixture
def pulled(images):
    with Registry() as registry:
        registry.add("x", "latest", SAMPLE)
        images.pull(f"{registry.host}/x")
        images.store.tag(f"{registry.host}/x", "x:1")
    return images


def check(images, **options):
    checker = StoreCheck(images.store, images.store.collector)
    found = asyncio.run(checker.run(**{"contents": True, **options}))
    return checker, [(f.kind, f.subject, f.problem) for f in found]


def repaired(images):
    checker, found = check(images)
    assert found
    assert checker.repair() == set()
    assert check(images)[1] == []


def blob(images, number=0):
    return Path(images.store.blobs.path(sha256(SAMPLE.blobs[number])))


def test_a_sound_store(pulled):
    assert check(pulled)[1] == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.unlink(), "file is missing"),
        (lambda path: path.write_bytes(b"short"), "file has 5 bytes instead of"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "content is not what its digest says"),
    ],
)
def test_damaged_blobs_go_and_their_image_stays(pulled, damage, problem):
    damage(blob(pulled))
    ((kind, subject, text),) = check(pulled)[1]
    assert (kind, subject) == ("blob", sha256(SAMPLE.blobs[0]))
    assert text.startswith(problem)
    repaired(pulled)
    assert pulled.store.resolve("x:1").layers[0].blob is None


def test_contents_are_left_alone_on_request(pulled):
    path = blob(pulled)
    path.write_bytes(bytes(path.stat().st_size))
    assert check(pulled, contents=False)[1] == []


def test_strays(pulled):
    stray = blob(pulled).with_name("ab" * 32)
    stray.write_bytes(b"x")
    directory = Path(pulled.store.layers.root, "f" * 24)
    directory.mkdir()
    assert {(kind, problem) for kind, _, problem in check(pulled)[1]} == {
        ("blob", "file belongs to nobody"),
        ("layer", "directory belongs to nobody"),
    }
    repaired(pulled)
    assert not stray.exists()
    assert not directory.exists()


def test_partial_blobs(pulled):
    partial = Path(pulled.root, "blobs/partial")
    (partial / ("ab" * 32)).write_bytes(b"arriving")
    strays = [partial / "nonsense", partial / sha256(SAMPLE.blobs[0])[7:]]
    for stray in strays:
        stray.write_bytes(b"x")
    assert check(pulled)[1] == [
        ("partial blob", stray.name, "file belongs to nobody") for stray in sorted(strays)
    ]
    repaired(pulled)
    assert [path.name for path in partial.iterdir()] == ["ab" * 32]


def test_a_lost_layer_takes_its_image_along(pulled):
    shutil.rmtree(pulled.store.lower_dirs("x:1")[0])
    repaired(pulled)
    assert pulled.store.find("x:1") is None


def test_a_damaged_configuration(pulled):
    config = pulled.store.resolve("x:1").raw_config
    pulled.ledger.execute("UPDATE images SET config = ?", (config.replace(b"linux", b"linuX"),))
    assert [kind for kind, _, _ in check(pulled)[1]] == ["image"]
    repaired(pulled)


def test_what_containers_use_is_left_alone(pulled):
    image = pulled.store.resolve("x:1")
    pulled.container("c", image.id, "running")
    directory = Path(pulled.store.lower_dirs("x:1")[0])
    away = directory.rename(Path(pulled.root, "away"))
    checker, _ = check(pulled)
    assert checker.repair() == {image.diff_ids[1]}
    assert pulled.store.resolve("x:1").id == image.id
    away.rename(directory)


def test_df_is_du(pulled):
    def du():
        output = subprocess.run(
            ["du", "-s", "-B1", *blobs.joinpath("sha256").iterdir(), *blobs.joinpath("partial").iterdir(),
             *layers()],
            capture_output=True,
            text=True,
        ).stdout  # fmt: skip
        return sum(int(line.split()[0]) for line in output.splitlines())

    def layers():
        return sorted(d for d in Path(pulled.store.layers.root).iterdir() if d.name != "empty")

    def df():
        asyncio.run(disk.refresh())
        return disk.total()

    disk = pulled.store.collector.disk
    blobs = Path(pulled.root, "blobs")
    (blobs / "partial" / ("ab" * 32)).write_bytes(bytes(10_000))
    os.sync()
    assert df() == du()
    # Another layer gets files of one that was measured by hard links.
    pulled.load(docker_archive((SAMPLE_2.config, SAMPLE_2.layers, ["y:1"])))
    ours, others = pulled.store.lower_dirs("x:1"), pulled.store.lower_dirs("y:1")
    new = next(Path(d) for d in others if d not in ours)
    old = next(f for d in ours for f in Path(d).rglob("*") if f.is_file() and f.stat().st_blocks)
    os.link(old, new / "linked")
    os.sync()
    assert df() == du()
    before = du()
    report = Remover(pulled.store, pulled.store.collector).prune(Filters({"dangling": ("false",)}))
    assert report.space_reclaimed == before - du() > 0


def test_by_the_command_line(new_engine):
    engine = new_engine()
    assert engine.run(CORTEN, "system", "fsck").stdout == "ledger, disk and kernel agree\n"
    stray = engine.root / "blobs/sha256" / ("ab" * 32)
    stray.write_bytes(b"x")
    left = engine.root / "containers" / ("c" * 64)
    left.mkdir()
    (engine.root / "volumes/mine/_data").mkdir(parents=True)
    done = engine.run(CORTEN, "system", "fsck", check=False)
    assert (done.returncode, done.stdout.count("belongs to nobody")) == (1, 3)
    done = engine.run(CORTEN, "system", "fsck", "--repair", check=False)
    assert done.stdout.splitlines() == [
        f"repaired: blob sha256:{'ab' * 32}: file belongs to nobody",
        f"repaired: container {'c' * 64}: directory belongs to nobody",
        "found: volume mine: directory belongs to nobody",
    ]
    assert not stray.exists()
    assert not left.exists()
    assert (engine.root / "volumes/mine/_data").exists()
    status, body = engine.request("POST", "/system/fsck?contents=0")
    assert (status, len(json.loads(body)["Findings"])) == (200, 1)
