"""Pulling through to other registries."""

import random
import threading

from imagefiles import Sample
from registry_client import sha256
from registry_server import Registry


def upstream(server, prefix=""):
    return [{"prefix": prefix, "url": f"http://{server.host}"}]


def pull(registry, name, sample):
    status, _, raw = registry("GET", f"/v2/{name}/manifests/latest")
    assert (status, sha256(raw)) == (200, sample.digest)
    for blob in (sample.config, *sample.blobs):
        status, _, data = registry("GET", f"/v2/{name}/blobs/{sha256(blob)}")
        assert (status, data) == (200, blob)


def test_fetched_once(new_registry):
    sample = Sample(random.Random(2).randbytes(2 << 20))
    with Registry() as server:
        server.add("team/app", "latest", sample)
        registry = new_registry(upstreams=upstream(server, "hub"))
        pull(registry, "hub/team/app", sample)
        asked = len(server.requests)
        pull(registry, "hub/team/app", sample)
        assert len(server.requests) == asked


def test_while_it_is_away_what_is_here_is_served(new_registry):
    sample = Sample()
    with Registry() as server:
        server.add("app", "latest", sample)
        registry = new_registry(upstreams=upstream(server), fresh=0.0)
        pull(registry, "app", sample)
    pull(registry, "app", sample)
    assert registry.error("GET", "/v2/app/manifests/other") == (502, "UNAVAILABLE")


def test_a_moved_tag_is_noticed(new_registry):
    old, new = Sample(b"old"), Sample(b"new")
    with Registry() as server:
        server.add("app", "latest", old)
        registry = new_registry(upstreams=upstream(server), fresh=0.0)
        pull(registry, "app", old)
        server.add("app", "latest", new)
        pull(registry, "app", new)


def test_wrong_content_never_arrives_whole(new_registry):
    sample = Sample()
    blob = sample.blobs[0]
    with Registry() as server:
        server.add("app", "latest", sample)
        server.replace[sha256(blob)] = b"y" * len(blob)
        registry = new_registry(upstreams=upstream(server))
        registry("GET", "/v2/app/manifests/latest")
        try:
            _, _, data = registry("GET", f"/v2/app/blobs/{sha256(blob)}")
        except Exception:
            data = b""
        assert len(data) < len(blob)
        assert registry.registry._store.catalogue.blob_size("app", sha256(blob)) is None


def test_many_clients_share_one_download(new_registry):
    sample = Sample(random.Random(1).randbytes(3 << 20))
    blob = sample.blobs[0]
    with Registry() as server:
        server.add("app", "latest", sample)
        registry = new_registry(upstreams=upstream(server))
        registry("GET", "/v2/app/manifests/latest")
        results = []

        def fetch():
            results.append(registry("GET", f"/v2/app/blobs/{sha256(blob)}")[2] == blob)

        threads = [threading.Thread(target=fetch) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 8
        assert sum(path.endswith(sha256(blob)) for _, path, _ in server.requests) == 1


def test_nothing_is_pushed_there(new_registry):
    with Registry() as server:
        registry = new_registry(upstreams=upstream(server, "hub"))
        assert registry.error("POST", "/v2/hub/app/blobs/uploads/") == (405, "UNSUPPORTED")
        registry.push_image("own", "latest")


def test_only_what_a_manifest_names_is_fetched(new_registry):
    with Registry() as server:
        server.blobs[sha256(b"x")] = b"x"
        registry = new_registry(upstreams=upstream(server))
        assert registry.error("GET", f"/v2/app/blobs/{sha256(b'x')}") == (404, "BLOB_UNKNOWN")


def test_missing_there_is_missing_here(new_registry):
    with Registry() as server:
        registry = new_registry(upstreams=upstream(server))
        assert registry.error("GET", "/v2/app/manifests/latest") == (404, "MANIFEST_UNKNOWN")
