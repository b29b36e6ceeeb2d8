"""Downloads that break, are shared, come in ranges or find a liar at the other end."""

import asyncio
import os
import threading
from contextlib import nullcontext

import pytest

from corten.content import SizeMismatch, partial
from corten.digest import DigestMismatch
from corten.images.transfer import TransferSettings
from corten.registry.client import RegistryHosts
from corten.registry.client.errors import Unreachable
from imagefiles import Sample, manifest, sha256
from registry_server import Registry


def incompressible(size):
    import random

    return random.Random(2).randbytes(size)


@pytest.fixture
def sample():
    """An image whose first layer is some 400 kB, compressed."""
    return Sample(incompressible(400_000))


@pytest.fixture
def registry(sample):
    with Registry() as registry:
        registry.add("x", "latest", sample)
        yield registry


def blob_requests(registry, digest):
    return [path for _, path, _ in registry.requests if path.endswith(digest)]


def test_going_on_after_an_engine_was_killed(images, registry, sample, new_store):
    digest = sha256(sample.blobs[0])
    registry.breaks[digest] = [300_000]
    images.store.use(TransferSettings(attempts=1))
    with pytest.raises(Unreachable, match="unexpected EOF"):
        images.pull(f"{registry.host}/x")
    left = os.path.join(images.root, "blobs", "partial", digest[7:])
    assert os.path.getsize(left) == 300_000

    again = new_store(images.root)
    again.store.restore()
    registry.requests.clear()
    starts = []
    original = registry._server.RequestHandlerClass.blobs

    def noting(self, name, which):
        if which == digest:
            starts.append(self.headers.get("Range"))
        return original(self, name, which)

    registry._server.RequestHandlerClass.blobs = noting
    again.pull(f"{registry.host}/x")
    (start,) = starts
    assert 290_000 < int(start.removeprefix("bytes=").rstrip("-")) <= 300_000
    assert again.store.resolve(f"{registry.host}/x").id == sample.id
    assert not os.path.exists(left)


def test_what_was_left_may_be_damaged(images, registry, sample):
    digest = sha256(sample.blobs[0])
    path = os.path.join(images.root, "blobs", "partial", digest[7:])
    with open(path, "wb") as f:
        f.write(b"wrong" * 20_000)
    images.pull(f"{registry.host}/x")
    assert images.store.resolve(f"{registry.host}/x").id == sample.id


@pytest.mark.parametrize("content", [b"", b"longer" * 200_000])
def test_what_was_left_may_be_empty_or_too_long(images, registry, sample, content):
    path = os.path.join(images.root, "blobs", "partial", sha256(sample.blobs[0])[7:])
    with open(path, "wb") as f:
        f.write(content)
    images.pull(f"{registry.host}/x")


def test_old_remains_are_swept(images, registry, sample):
    directory = os.path.join(images.root, "blobs", "partial")
    for name, age in (("old", 1), ("new", 10**10)):
        path = os.path.join(directory, name)
        with open(path, "wb") as f:
            f.write(b"x")
        os.utime(path, (age, age))
    images.store.restore()
    assert os.listdir(directory) == ["new"]
    os.unlink(os.path.join(directory, "new"))


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(partial, "SEGMENT", 64 << 10)


def test_ranges(images, registry, sample, small_segments):
    images.pull(f"{registry.host}/x")
    requests = blob_requests(registry, sha256(sample.blobs[0]))
    assert len(requests) == (len(sample.blobs[0]) + (64 << 10) - 1) // (64 << 10)
    assert images.store.resolve(f"{registry.host}/x").id == sample.id


def test_a_registry_without_ranges(images, registry, sample, small_segments):
    registry.ranges = False
    images.pull(f"{registry.host}/x")
    assert len(blob_requests(registry, sha256(sample.blobs[0]))) == 1


def test_ranges_that_break(images, registry, sample, small_segments):
    registry.breaks[sha256(sample.blobs[0])] = [60_000, 10, 50_000]
    images.pull(f"{registry.host}/x")
    assert images.store.resolve(f"{registry.host}/x").id == sample.id


def test_wrong_content_in_ranges(images, registry, sample, small_segments):
    digest = sha256(sample.blobs[0])
    registry.replace[digest] = sample.blobs[0][:-1] + b"!"
    with pytest.raises(DigestMismatch):
        images.pull(f"{registry.host}/x")
    assert digest[7:] not in os.listdir(os.path.join(images.root, "blobs", "partial"))


def test_more_than_was_promised(images, registry, sample):
    registry.replace[sha256(sample.blobs[0])] = sample.blobs[0] + b"more"
    with pytest.raises(SizeMismatch):
        images.pull(f"{registry.host}/x")
    assert sha256(sample.blobs[0])[7:] not in os.listdir(os.path.join(images.root, "blobs", "partial"))


def test_two_pulls_share_one_download(images, registry, sample, monkeypatch):
    registry.add("y", "latest", sample)
    both_wait = threading.Event()
    original = registry._server.RequestHandlerClass.blobs

    def held(self, name, which):
        if which != sample.id:
            both_wait.wait(20)
        return original(self, name, which)

    monkeypatch.setattr(registry._server.RequestHandlerClass, "blobs", held)
    waiting = set()

    async def lines(name):
        found = []
        async for line in images.store.pull(f"{registry.host}/{name}"):
            found.append(line)
            if line.status == "Pulling fs layer":
                waiting.add(name)
            if len(waiting) == 2:
                both_wait.set()
        return found

    async def both():
        return await asyncio.gather(lines("x"), lines("y"))

    first, second = asyncio.run(both())
    assert len(blob_requests(registry, sha256(sample.blobs[0]))) == 1
    for lines in (first, second):
        assert sum(line.status == "Pull complete" for line in lines) == 2
    assert images.store.id_of_name is not None


def test_the_last_one_who_leaves_ends_the_download(images, registry, sample, monkeypatch):
    """A pull whose client is gone ends, unless another one wants the same."""
    held = threading.Event()
    original = registry._server.RequestHandlerClass.blobs

    def stalling(self, name, which):
        if which == sha256(sample.blobs[0]):
            held.wait(20)
        return original(self, name, which)

    monkeypatch.setattr(registry._server.RequestHandlerClass, "blobs", stalling)

    async def pull():
        return [line async for line in images.store.pull(f"{registry.host}/x")]

    async def asked():
        while not blob_requests(registry, sha256(sample.blobs[0])):
            await asyncio.sleep(0.01)

    async def first_leaves():
        one, two = asyncio.create_task(pull()), asyncio.create_task(pull())
        await asked()
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        held.set()
        return await two

    assert asyncio.run(first_leaves())[-1].status.startswith("Status: Downloaded")
    images.remove(f"{registry.host}/x")
    held.clear()
    registry.requests.clear()

    async def all_leave():
        one = asyncio.create_task(pull())
        await asked()
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)

    asyncio.run(all_leave())
    held.set()
    assert images.store.all() == []


def test_a_mirror_s_wrong_layer_comes_from_the_registry(images, registry, sample, tmp_path):
    digest = sha256(sample.blobs[0])
    with Registry() as mirror:
        mirror.add("x", "latest", sample)
        mirror.replace[digest] = sample.blobs[0][:-1] + b"!"
        (tmp_path / registry.host).mkdir()
        (tmp_path / registry.host / "hosts.toml").write_text(f'[host."http://{mirror.host}"]\n')
        hosts = RegistryHosts(directories=[str(tmp_path)])
        images.store.use(TransferSettings(hosts=hosts, retry_delay_s=0.01))
        images.pull(f"{registry.host}/x")
    assert len(blob_requests(registry, digest)) == 1
    assert images.store.resolve(f"{registry.host}/x").id == sample.id


def test_limits_of_what_goes_on_at_once(images):
    """max-concurrent-downloads is the whole engine's."""
    from corten.images.transfer import Turns

    turns = Turns(2)
    busiest = running = 0

    async def one():
        nonlocal busiest, running
        async with turns:
            running += 1
            busiest = max(busiest, running)
            try:
                await asyncio.sleep(0)
            finally:
                running -= 1

    async def many():
        tasks = [asyncio.create_task(one()) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[1::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(many())
    assert (busiest, running) == (2, 0)
    asyncio.run(many())


def test_rate_limit_is_shown(images, registry):
    registry.headers = {"RateLimit_Limit": "100;w=21600", "RateLimit_Remaining": "76;w=21600"}
    lines = images.pull(f"{registry.host}/x")
    assert "Rate limit: 76 of 100 pulls left in 6 hours" in [line.status for line in lines]


def test_an_empty_blob(images, registry):
    """A layer of no bytes is not a layer, but no reason to loop."""
    s = Sample()
    raw = manifest(s.config, [b"", s.blobs[1]])
    registry.put_manifest("empty", "latest", raw, "application/vnd.oci.image.manifest.v1+json")
    registry.blobs.update({sha256(b""): b"", s.id: s.config, sha256(s.blobs[1]): s.blobs[1]})
    with pytest.raises(Exception, match="does not match its diff id|unexpected EOF"):
        images.pull(f"{registry.host}/empty")


def connected(registry):
    """Connections to the registry that this end has not closed."""
    port = f":{registry._server.server_address[1]:04X}"
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f]
    return [row[1] for row in rows if row[2].endswith(port) and row[3] == "01"]


@pytest.mark.parametrize("fails", [False, True])
def test_no_connection_outlives_its_pull(images, registry, sample, fails):
    """Not even while a failed pull's frames wait for the collector."""
    if fails:
        registry.replace[sha256(sample.blobs[0])] = sample.blobs[0] + b"more"
    with pytest.raises(SizeMismatch) if fails else nullcontext() as raised:
        images.pull(f"{registry.host}/x")
    assert connected(registry) == []
    del raised
