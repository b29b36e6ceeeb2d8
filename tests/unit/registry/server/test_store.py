"""What is kept, what is collected, and what a crash leaves."""

import json
import os
import threading
import time
from contextlib import suppress

import pytest

from corten.errors import Conflict
from corten.registry.server.storage import Storage
from registry_client import MANIFEST, manifest, sha256

DATA = b"some layer" * 5000
DIGEST = sha256(DATA)


def blob_file(registry, digest):
    return os.path.join(registry.root, "blobs", *digest.split(":"))


def store_of(registry):
    return registry.registry._store


def test_what_nothing_needs_is_collected(new_registry):
    registry = new_registry(gc_grace=0.0)
    kept = registry.push_image("a", "latest", DATA)
    loose = registry.push_blob("a", b"loose")
    assert store_of(registry).collect() == {"manifests": 0, "blobs": 1, "uploads": 0}
    assert not os.path.exists(blob_file(registry, loose))
    assert registry("HEAD", f"/v2/a/blobs/{loose}")[0] == 404
    assert registry("GET", f"/v2/a/blobs/{DIGEST}")[2] == DATA
    registry("DELETE", f"/v2/a/manifests/{kept}")
    assert store_of(registry).collect()["blobs"] == 2
    assert not os.path.exists(blob_file(registry, DIGEST))


def test_what_is_new_is_kept_for_the_manifest_to_come(registry):
    registry.push_blob("a", DATA)
    assert store_of(registry).collect()["blobs"] == 0


def test_untagged_manifests(new_registry):
    registry = new_registry(gc_grace=0.0)
    old = registry.push_image("a", "latest", DATA)
    new = registry.push_image("a", "latest", b"other")
    signature = registry.push_manifest(
        "a", "s",
        manifest(registry.push_blob("a", b"{}"), 2, subject={"mediaType": "x", "digest": new, "size": 1}),
    )  # fmt: skip
    registry("DELETE", "/v2/a/manifests/s")
    assert store_of(registry).collect()["manifests"] == 0
    assert store_of(registry).collect(untagged=True)["manifests"] == 1
    assert registry("GET", f"/v2/a/manifests/{old}")[0] == 404
    assert registry("GET", f"/v2/a/manifests/{signature}")[0] == 200
    registry("DELETE", f"/v2/a/manifests/{new}")
    assert store_of(registry).collect(untagged=True)["manifests"] == 1


def test_a_blob_that_is_being_read_is_read_to_its_end(new_registry):
    registry = new_registry(gc_grace=0.0)
    digest = registry.push_blob("a", DATA)
    body = store_of(registry).blob("a", digest)
    store_of(registry).collect()
    assert os.pread(body.file.fd, len(DATA), 0) == DATA


def test_files_that_were_read_are_not_kept_from_being_deleted(new_registry):
    """They stay open for the next one who asks; a few of them, and none that is no blob any more."""
    registry = new_registry(gc_grace=0.0)
    contents = [b"blob %d" % n for n in range(100)]
    registry.push_blob("a", DATA)
    for data in contents:
        assert registry("GET", f"/v2/a/blobs/{registry.push_blob('a', data)}")[2] == data
    assert 0 < len(open_blobs(registry)) < len(contents)
    again = registry.push_blob("a", contents[-1])
    assert registry("GET", f"/v2/a/blobs/{again}")[2] == contents[-1]
    store_of(registry).collect()
    assert open_blobs(registry) == []


def open_blobs(registry):
    """The files of blobs that this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in found if path.startswith(os.path.join(registry.root, "blobs"))]


def test_stale_uploads(registry):
    path = registry.start_upload("a")
    file = os.path.join(registry.root, "uploads", path.rpartition("/")[2])
    assert store_of(registry).collect()["uploads"] == 0
    long_ago = time.time() - 48 * 3600
    os.utime(file, (long_ago, long_ago))
    assert store_of(registry).collect()["uploads"] == 1
    assert registry("GET", path)[0] == 404


def push_until_it_is_there(registry, tag, layer):
    """As a client does that is so slow that its blobs' time of grace is over before its manifest comes."""
    config = b"{}"
    while True:
        blobs = [registry.push_blob("a", data) for data in (config, layer)]
        document = json.dumps(manifest(blobs[0], len(config), (blobs[1], len(layer))))
        path = f"/v2/a/manifests/{tag}"
        status, _, body = registry("PUT", path, document, {"Content-Type": MANIFEST})
        if status == 201:
            return
        assert json.loads(body)["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_collection_while_pushing(new_registry):
    """No push that was acknowledged loses a blob, however often one collects meanwhile."""
    registry = new_registry(gc_grace=0.05)
    stop = threading.Event()

    def collect():
        while not stop.is_set():
            store_of(registry).collect()

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for n in range(30):
            push_until_it_is_there(registry, f"v{n}", b"layer %d" % (n % 3))
            if n % 5 == 4:
                registry("DELETE", f"/v2/a/manifests/v{n - 1}")
    finally:
        stop.set()
        thread.join()
    for n in range(3):
        data = b"layer %d" % n
        assert registry("GET", f"/v2/a/blobs/{sha256(data)}")[2] == data


def test_one_process_at_a_time(new_registry):
    new_registry()
    with pytest.raises(Conflict, match="another registry"):
        new_registry()


def test_after_a_crash_files_and_rows_agree(new_registry):
    registry = new_registry()
    registry.push_image("a", "latest", DATA)
    registry.close()
    os.unlink(blob_file(registry, DIGEST))
    stray = blob_file(registry, sha256(b"stray"))
    with open(stray, "w") as f:
        f.write("stray")
    again = new_registry()
    assert not os.path.exists(stray)
    assert again("HEAD", f"/v2/a/blobs/{DIGEST}")[0] == 404
    assert again.push_blob("a", DATA) == DIGEST
    assert again("GET", f"/v2/a/blobs/{DIGEST}")[2] == DATA


def test_linking(tmp_path):
    storage = Storage(str(tmp_path / "root"))
    source = tmp_path / "file"
    source.write_bytes(DATA)
    assert storage.link(str(source), DIGEST)
    assert os.stat(storage.path(DIGEST)).st_ino == source.stat().st_ino
