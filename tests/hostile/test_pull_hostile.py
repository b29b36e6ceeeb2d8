"""Pulls from registries that lie: one clear error, and a store in which nothing is left but what may be resumed."""

import asyncio
import gzip
import json
import os
import socket
import subprocess
import threading
from contextlib import suppress

import pytest
from backports import zstd

from corten.errors import CortenError
from corten.images import ImageStore
from corten.images.check import StoreCheck
from corten.images.transfer import TransferSettings
from corten.metadata import Ledger
from corten.registry.client import RegistryHosts
from corten.registry.client.transport import Transport
from corten.snapshots.decompress import Limits
from corten.snapshots.tar_reader import TarEntry
from corten.snapshots.tar_writer import header_of
from corten.snapshots.workers import WorkerPool
from imagefiles import (
    INDEX,
    MANIFEST,
    Sample,
    config,
    descriptor,
    index,
    manifest,
    sha256,
    tar,
)
from registry_server import Registry

pytestmark = pytest.mark.root
AMD64 = {"os": "linux", "architecture": "amd64"}
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool()
    yield pool
    pool.close()


@pytest.fixture
def registry():
    with Registry() as registry:
        yield registry


@pytest.fixture(params=["extract", "erofs"])
def form(request):
    """How layers are kept."""
    return request.param


class Victim:
    """A store that pulls, and looks at what is left of a pull that failed."""

    def __init__(self, root, workers, form="extract"):
        self.root = str(root)
        self.ledger = Ledger(os.path.join(self.root, "meta.db"))
        self.store = ImageStore(self.root, self.ledger, workers=workers, layer_form=form)
        self.store.use(TransferSettings(retry_delay_s=0.01, attempts=2))

    def refuses(self, reference):
        """The error of pulling it."""
        with pytest.raises((CortenError, OSError)) as e:
            self.pull(reference)
        self.is_clean()
        text = str(e.value)
        assert text and "\n" not in text and len(text) < 1000 and "shutting down" not in text
        return text

    def pull(self, reference):
        async def run():
            return [line async for line in self.store.pull(reference)]

        return asyncio.run(run())

    def is_clean(self):
        """No image, no row, no file; fsck agrees."""
        assert self.store.all() == []
        self.store.collector.collect()
        for table in ("layers", "blobs", "names"):
            assert self.ledger.query(f"SELECT * FROM {table}") == []  # noqa: S608
        assert [name for name in os.listdir(self.store.tmp) if not name.startswith("trash-")] == []
        assert os.listdir(os.path.join(self.root, "layers")) == ["empty"]
        assert list(self.store.blobs) == []
        findings = asyncio.run(StoreCheck(self.store, self.store.collector).run(contents=True))
        assert findings == []

    def close(self):
        self.ledger.close()


@pytest.fixture
def victim(tmp_path, workers, form):
    made = Victim(tmp_path, workers, form)
    yield made
    made.close()


def offer(registry, raw_config, blobs, media_type=GZIP, tag="1"):
    """Put an image there; returns its reference."""
    raw = manifest(raw_config, blobs, media_type)
    registry.put_manifest("x", tag, raw, MANIFEST)
    for blob in (raw_config, *blobs):
        registry.blobs[sha256(blob)] = blob
    return f"{registry.host}/x:{tag}"


def offer_manifest(registry, raw, media_type=MANIFEST):
    registry.put_manifest("x", "1", raw, media_type)
    sample = Sample()
    for blob in (sample.config, *sample.blobs):
        registry.blobs[sha256(blob)] = blob
    return f"{registry.host}/x:1"


def offer_layer(registry, layer, pack=gzip.compress):
    """An image of one layer, honest about its digests."""
    return offer(registry, config(layer), [pack(layer)])


# -- digests and sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
def test_content_is_not_what_its_digest_says(victim, registry, which):
    s = Sample()
    name = offer(registry, s.config, s.blobs)
    digest, raw = {
        "manifest": (s.digest, s.manifest),
        "config": (s.id, s.config),
        "layer": (sha256(s.blobs[1]), s.blobs[1]),
    }[which]
    registry.replace[digest] = bytes([raw[0] ^ 1]) + raw[1:]
    if which == "manifest":
        name = f"{registry.host}/x@{digest}"
    assert "verification failed" in victim.refuses(name)


@pytest.mark.parametrize("change", [-1, 1, -(1 << 40), 1 << 40])
@pytest.mark.parametrize("which", ["config", "layers"])
def test_size_is_not_what_the_manifest_says(victim, registry, which, change):
    s = Sample()
    document = json.loads(s.manifest)
    described = document["config"] if which == "config" else document["layers"][0]
    described["size"] += change
    victim.refuses(offer_manifest(registry, json.dumps(document).encode()))


@pytest.mark.parametrize("change", [-1, 1])
def test_size_is_not_what_the_index_says(victim, registry, change):
    s = Sample()
    registry.add("x", "y", s)
    said = {**descriptor(s.manifest, MANIFEST, platform=AMD64), "size": len(s.manifest) + change}
    assert "size" in victim.refuses(offer_manifest(registry, index(said), INDEX))


def test_a_layer_is_not_the_one_of_the_configuration(victim, registry):
    evil = Sample(b"evil")
    assert "diff id" in victim.refuses(offer(registry, Sample().config, evil.blobs))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_configuration_of_more_or_fewer_layers(victim, registry, count):
    s = Sample()
    assert "rootfs" in victim.refuses(offer(registry, s.config, [s.blobs[0]] * count))


# -- documents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    [
        "text/html",
        "application/json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.plugin.v1+json",
        "x" * 5000,
    ],
)
def test_media_types_of_no_manifest(victim, registry, media_type):
    raw = json.dumps({**json.loads(Sample().manifest), "mediaType": media_type}).encode()
    victim.refuses(offer_manifest(registry, raw, media_type))


@pytest.mark.parametrize("media_type", ["text/html", "application/vnd.docker.plugin.v1+json", ""])
def test_media_types_of_no_configuration(victim, registry, media_type):
    page = b"<html>sorry</html>"
    document = {
        "config": descriptor(page, media_type),
        "layers": [],
        "schemaVersion": 2,
        "mediaType": MANIFEST,
    }
    name = offer_manifest(registry, json.dumps(document).encode())
    registry.blobs[sha256(page)] = page
    victim.refuses(name)


def test_a_layer_that_is_no_archive_whatever_its_media_type(victim, registry):
    page = b"<html>sorry</html>" * 100
    for media_type in (GZIP, "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.in-toto+json"):
        victim.refuses(offer(registry, config(page), [page], media_type))


@pytest.mark.parametrize(
    "more",
    [
        {"manifests": []},
        {"mediaType": INDEX},
        {"mediaType": INDEX, "manifests": []},
        {"fsLayers": [{"blobSum": "sha256:" + "0" * 64}], "schemaVersion": 1},
    ],
)
def test_a_manifest_that_is_two_things(victim, registry, more):
    """CVE-2021-41190."""
    victim.refuses(offer_manifest(registry, json.dumps({**json.loads(Sample().manifest), **more}).encode()))


def test_an_index_served_as_a_manifest_and_the_other_way_round(victim, registry):
    listed = index(descriptor(Sample().manifest, MANIFEST, platform=AMD64))
    assert "is served as" in victim.refuses(offer_manifest(registry, listed, MANIFEST))
    assert "is served as" in victim.refuses(offer_manifest(registry, Sample().manifest, INDEX))


def test_an_index_that_leads_to_itself(victim, registry):
    """No digest can name itself, but a registry may answer every question with the same index."""
    said = {"mediaType": INDEX, "digest": "sha256:" + "0" * 64, "size": 300, "platform": AMD64}
    listed = index(said)
    name = offer_manifest(registry, listed, INDEX)
    registry.replace[said["digest"]] = listed
    assert "verification failed" in victim.refuses(name)


def test_indexes_within_indexes(victim, registry):
    entry = descriptor(Sample().manifest, MANIFEST, platform=AMD64)
    registry.add("x", "y", Sample())
    for _ in range(50):
        listed = index(entry)
        registry.put_manifest("x", "1", listed, INDEX)
        entry = descriptor(listed, INDEX, platform=AMD64)
    assert "nested too deep" in victim.refuses(f"{registry.host}/x:1")


def test_a_huge_index(victim, registry):
    entry = descriptor(b"", MANIFEST, platform={"os": "linux", "architecture": "s390x"})
    assert "no matching manifest" in victim.refuses(offer_manifest(registry, index(*[entry] * 15_000), INDEX))
    assert "larger than 4194304 bytes" in victim.refuses(
        offer_manifest(registry, index(*[entry] * 30_000), INDEX)
    )


def test_ten_thousand_layers(victim, registry):
    name = offer(registry, config(*[b""] * 10_000), [gzip.compress(b"")] * 10_000)
    assert "max depth exceeded" in victim.refuses(name)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 200_000,
        b'{"rootfs":' * 100_000,
        b'{"config": {"Labels": ' + b'{"a":' * 50_000,
        b" " * (9 << 20),
        json.dumps(
            {"rootfs": {"type": "layers", "diff_ids": []}, "config": {"Env": ["x" * (9 << 20)]}}
        ).encode(),
        gzip.compress(bytes(100 << 20)),
        b"",
        b"\xff",
    ],
    ids=["lists", "objects", "labels", "blanks", "env", "gzip", "empty", "no-text"],
)
def test_configurations_that_are_bombs(victim, registry, raw):
    victim.refuses(offer(registry, raw, []))


@pytest.mark.parametrize("raw", [b"[" * 1_000_000, b'{"config":' * 200_000, b'{"layers":[' * 200_000])
def test_deep_manifests(victim, registry, raw):
    victim.refuses(offer_manifest(registry, raw))


def test_layers_that_lie_elsewhere(victim, registry):
    """`urls` of foreign layers are asked for nothing, least of all files."""
    document = json.loads(Sample().manifest)
    foreign = b"elsewhere"
    document["layers"][0] = descriptor(
        foreign, GZIP, urls=["file:///etc/passwd", f"http://{registry.host}/v2/"]
    )
    victim.refuses(offer_manifest(registry, json.dumps(document).encode()))
    assert not any(path == "/v2/" for _, path, _ in registry.requests[1:])


# -- layers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(max_ratio=50, ratio_from_bytes=4 << 20), "decompression bomb"),
        (Limits(max_bytes=4 << 20), "unpacks to more than"),
    ],
)
def test_a_bomb(victim, registry, monkeypatch, pack, limits, problem):
    """Refused while it is unpacked, long before its end."""
    monkeypatch.setattr(victim.store.layers, "_limits", limits)
    bomb = pack(header_of(TarEntry(b"zeros", size=64 << 20)) + bytes(64 << 20))
    assert problem in victim.refuses(offer(registry, config(b""), [bomb]))


BAD_TARS = {
    "dots": tar(("../evil", b"x")),
    "deep dots": tar(("a/b/../../../evil", b"x")),
    "dots of a hard link": tar(("a", b"x"), TarEntry(b"b", b"1", linkname=b"../../evil")),
    "hard link into another layer": tar(TarEntry(b"b", b"1", linkname=b"etc/motd")),
    "whiteout above the root": tar((".wh...", b"")),
    "whiteout of dots": tar(("a/../../.wh.evil", b"")),
    "name of 64 KiB": tar(("n" * 65536, b"x")),
    "negative size": tar(("a", b"x")).replace(b"00000000001\0", b"-0000000001\0", 1),
    "a size beyond all": header_of(TarEntry(b"f", size=1 << 50)) + bytes(1024),
    "no tar": b"no tar at all" * 1000,
}


@pytest.mark.parametrize("layer", BAD_TARS.values(), ids=BAD_TARS.keys())
def test_layers_that_no_disk_takes(victim, registry, layer):
    victim.refuses(offer_layer(registry, layer))


def test_truncated_anywhere(victim, registry):
    good = tar(("d/f", b"x" * 1500), ("n" * 300, b"y"))
    packed = gzip.compress(good)
    for cut in range(1, len(packed) - 1, 11):
        victim.refuses(offer(registry, config(good), [packed[:cut]]))
    for cut in (1, 511, 512, 513, 1200, 2560, 2600):
        victim.refuses(offer_layer(registry, good[:cut], bytes))


# -- registries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["file:///etc/passwd?", "ftp://127.0.0.1/", "http://["])
def test_blobs_that_are_somewhere_no_registry_is(victim, registry, target):
    s = Sample()
    name = offer(registry, s.config, s.blobs)
    registry.redirect = target
    victim.refuses(name)


def test_redirects_in_a_circle(victim, registry):
    s = Sample()
    name = offer(registry, s.config, s.blobs)
    registry.redirect = f"http://{registry.host}/v2/x/blobs/"
    assert "stopped after 10 redirects" in victim.refuses(name)


def test_html_with_status_200(victim, registry, monkeypatch):
    s = Sample()
    name = offer(registry, s.config, s.blobs)
    handler = registry._server.RequestHandlerClass
    page = b"<html>please log in to this hotel's network</html>"
    monkeypatch.setattr(handler, "blobs", lambda self, *_: self.answer(200, page, Content_Type="text/html"))
    assert "verification failed" in victim.refuses(name)
    monkeypatch.setattr(
        handler, "manifests", lambda self, *_: self.answer(200, page, Content_Type="text/html")
    )
    assert "text/html" in victim.refuses(name)


def test_another_content_after_head(victim, registry, monkeypatch):
    """What HEAD says is believed for nothing; what comes is what counts."""
    s, other = Sample(), Sample(b"other")
    name = offer(registry, s.config, s.blobs)
    registry.add("x", "other", other)
    handler = registry._server.RequestHandlerClass
    original = handler.manifests

    def manifests(self, repository, which):
        return original(self, repository, "other" if self.command == "GET" and which == "1" else which)

    monkeypatch.setattr(handler, "manifests", manifests)
    victim.pull(name)
    assert victim.store.resolve(name).id == other.id
    assert victim.store.resolve(f"{registry.host}/x@{other.digest}").id == other.id


def test_another_content_with_each_attempt(victim, registry, monkeypatch):
    """A layer whose second half, asked for after a break, is that of another one."""
    s = Sample(os.urandom(200_000))
    other = Sample(os.urandom(200_000))
    name = offer(registry, s.config, s.blobs)
    digest = sha256(s.blobs[0])
    handler = registry._server.RequestHandlerClass
    original = handler.blobs

    def blobs(self, repository, which):
        if which == digest and self.headers.get("Range"):
            registry.replace[digest] = other.blobs[0]
        return original(self, repository, which)

    monkeypatch.setattr(handler, "blobs", blobs)
    registry.breaks[digest] = [100_000]
    victim.refuses(name)


@pytest.mark.parametrize("after", [0, 1000])
def test_a_registry_that_stalls(victim, registry, monkeypatch, after):
    monkeypatch.setattr(RegistryHosts, "transport", lambda *_: Transport(timeout_s=0.1))
    s = Sample(os.urandom(5000))
    name = offer(registry, s.config, s.blobs)
    over = threading.Event()

    def blobs(self, _, which):
        content = registry.blobs[which]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: after if which != s.id else None])
        self.wfile.flush()
        if which != s.id:
            over.wait()
            self.close_connection = True

    monkeypatch.setattr(registry._server.RequestHandlerClass, "blobs", blobs)
    try:
        assert "request canceled" in victim.refuses(name)
    finally:
        over.set()


def test_a_registry_that_drips_can_be_left(victim, registry, monkeypatch):
    """A byte now and then for ever is no error, but whoever pulls can go, and takes everything along."""
    s = Sample(os.urandom(5000))
    name = offer(registry, s.config, s.blobs)
    dripping, over = threading.Event(), threading.Event()

    def blobs(self, repository, which):
        if which == s.id:
            return original(self, repository, which)
        content = registry.blobs[which]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            for at in range(len(content)):
                self.wfile.write(content[at : at + 1])
                self.wfile.flush()
                if at == 50:
                    dripping.set()
                if over.wait(0.005):
                    break
        return None

    original = registry._server.RequestHandlerClass.blobs
    monkeypatch.setattr(registry._server.RequestHandlerClass, "blobs", blobs)

    async def run():
        stream = victim.store.pull(name)
        async for line in stream:
            if line.status == "Pulling fs layer":
                break
        await asyncio.to_thread(dripping.wait)
        await stream.aclose()

    try:
        asyncio.run(asyncio.wait_for(run(), 20))
    finally:
        over.set()
    victim.is_clean()


def test_a_connection_that_is_reset_in_every_answer(victim, registry, monkeypatch):
    s = Sample()
    name = offer(registry, s.config, s.blobs)

    def blobs(self, *_):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
        self.close_connection = True

    monkeypatch.setattr(registry._server.RequestHandlerClass, "blobs", blobs)
    victim.refuses(name)


# -- the disk -----------------------------------------------------------------------------------------


def test_no_space_left(tmp_path, workers, registry, form):
    """Whether it is the blob or its contents that does not fit: one error, and room again afterwards."""
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(root)], check=True)
    try:
        victim = Victim(root, workers, form)
        for content in (os.urandom(4 << 20), bytes(8 << 20)):
            s = Sample(content)
            assert "no space left on device" in victim.refuses(offer(registry, s.config, s.blobs)).lower()
            for name in os.listdir(root / "blobs" / "partial"):
                os.unlink(root / "blobs" / "partial" / name)
        small = Sample()
        victim.pull(offer(registry, small.config, small.blobs))
        victim.close()
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)
