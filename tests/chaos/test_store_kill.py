"""kill -9 of the engine's half of the stores at any instant: the old or the new state, and nothing else."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from corten.errors import InternalError
from corten.images import ImageStore
from corten.images.load import load
from corten.images.save import read_pieces, save
from corten.metadata import Ledger
from imagefiles import Sample, docker_archive, sha256

pytestmark = pytest.mark.root

# What the victim does until it is shot: load and remove images that share layers, commit upperdirs.
VICTIM = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[2])
from imagefiles import Sample, config, docker_archive, tar
from corten.images import ImageStore
from corten.images.import_image import import_tar
from corten.images.load import load
from corten.images.removal import Remover
from corten.metadata import Ledger
from corten.reference import parse_normalized

async def body(data):
    yield data

async def main():
    root = sys.argv[1]
    store = ImageStore(root, Ledger(os.path.join(root, "meta.db")))
    store.restore()
    base = Sample()
    n = 0
    print("ready", flush=True)
    while True:
        n = (n + 1) % 5
        extra = [tar((f"f{i}-{n}", os.urandom(20_000))) for i in range(3)]
        layers = [*base.layers, *extra]
        async for _ in load(store, body(docker_archive((config(*layers), layers, [f"loaded:{n}"])))): pass
        await import_tar(store, body(tar((f"i{n}", b"x" * n))), name=parse_normalized(f"imported:{n}"))
        upper = os.path.join(root, "tmp", "upper")
        os.makedirs(upper + "/d", exist_ok=True)
        layer = await store.commit_upper(upper, keep=False)
        Remover(store, store.collector).remove(f"loaded:{n}", force=True)
        if n % 2: Remover(store, store.collector).remove(f"imported:{n}")

asyncio.run(main())
"""


def fsck(root):
    """Ledger = disk, every layer whole."""
    ledger = Ledger(os.path.join(root, "meta.db"))
    store = ImageStore(root, ledger)
    try:
        store.restore()
        assert ledger.query("PRAGMA integrity_check")[0][0] == "ok"
        assert ledger.query("PRAGMA foreign_key_check") == []
        rows = {r["directory"] for r in ledger.query("SELECT directory FROM layers")}
        assert set(os.listdir(os.path.join(root, "layers"))) == rows | {"empty"}
        blobs = {r["digest"] for r in ledger.query("SELECT digest FROM blobs")}
        assert {str(d) for d in store.blobs} == blobs
        for digest in blobs:
            assert sha256(store.blobs.read(digest, 1 << 30)) == digest
        for image in store.all():
            assert len(store.lower_dirs(image)) == max(1, len(image.layers))
            asyncio.run(drain(read_pieces(save(store, [image.id]))))
        deadline = time.monotonic() + 20
        while os.listdir(store.tmp) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert os.listdir(store.tmp) == []
        return len(store.all())
    finally:
        store.close()
        ledger.close()


async def drain(stream):
    async for _ in stream:
        pass


async def body(data):
    yield data


@pytest.mark.parametrize("seed", range(6))
def test_shot_at_any_instant(tmp_path, seed):
    chooser = random.Random(seed)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for _ in range(3):
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(tmp_path), here], stdout=subprocess.PIPE, env=environment
        )
        assert victim.stdout.readline() == b"ready\n"
        time.sleep(chooser.uniform(0, 0.3))
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
        fsck(str(tmp_path))


def test_full_disk(tmp_path):
    """ENOSPC in the middle is one error, and leaves room again."""
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(root)], check=True)
    try:
        ledger = Ledger(str(root / "meta.db"))
        store = ImageStore(str(root), ledger)
        big = Sample(os.urandom(2 << 20))
        data = docker_archive((big.config, big.layers, ["big:1"]))
        with pytest.raises(InternalError, match="no space left on device"):
            asyncio.run(drain(load(store, body(data))))
        assert os.listdir(root / "tmp") == []
        small = Sample()
        asyncio.run(drain(load(store, body(docker_archive((small.config, small.layers, ["small:1"]))))))
        assert store.resolve("small:1").id == small.id
        store.close()
        ledger.close()
        assert fsck(str(root)) == 1
    finally:
        subprocess.run(["umount", str(root)], check=True)
