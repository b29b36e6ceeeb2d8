"""The distribution specification, operation by operation, as a client sees it."""

import hashlib
import http.client
import json
import socket

import pytest

from registry_client import INDEX, MANIFEST, manifest, sha256

DATA = bytes(range(256)) * 1000
DIGEST = sha256(DATA)


def test_says_that_it_is_a_registry(registry):
    status, headers, body = registry("GET", "/v2/")
    assert (status, body) == (200, b"{}")
    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_pushing_and_pulling_a_blob(registry):
    assert registry.push_blob("a/b", DATA) == DIGEST
    status, headers, body = registry("GET", f"/v2/a/b/blobs/{DIGEST}")
    assert (status, body) == (200, DATA)
    assert headers["Docker-Content-Digest"] == DIGEST
    status, headers, body = registry("HEAD", f"/v2/a/b/blobs/{DIGEST}")
    assert (status, headers["Content-Length"], body) == (200, str(len(DATA)), b"")


def test_a_blob_is_in_the_repositories_that_it_was_pushed_to(registry):
    registry.push_blob("a", DATA)
    assert registry.error("GET", f"/v2/b/blobs/{DIGEST}") == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=100-199", slice(100, 200)),
        ("bytes=255999-", slice(255999, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=255990-999999999", slice(255990, None)),
    ],
)
def test_ranges(registry, asked, expected):
    registry.push_blob("a", DATA)
    status, headers, body = registry("GET", f"/v2/a/blobs/{DIGEST}", None, {"Range": asked})
    assert (status, body) == (206, DATA[expected])
    assert headers["Content-Range"].endswith(f"/{len(DATA)}")


def test_a_range_beyond_the_end_is_416(registry):
    registry.push_blob("a", DATA)
    status, headers, _ = registry("GET", f"/v2/a/blobs/{DIGEST}", None, {"Range": "bytes=256000-"})
    assert (status, headers["Content-Range"]) == (416, "bytes */256000")


def test_a_range_that_nobody_understands_is_everything(registry):
    registry.push_blob("a", DATA)
    for text in ("bytes=5-3,7-9", "lines=1-2", "bytes=-"):
        assert registry("GET", f"/v2/a/blobs/{DIGEST}", None, {"Range": text})[0] == 200


def test_not_modified(registry):
    registry.push_blob("a", DATA)
    status, headers, _ = registry("GET", f"/v2/a/blobs/{DIGEST}")
    status, headers, _ = registry("GET", f"/v2/a/blobs/{DIGEST}", None, {"If-None-Match": headers["ETag"]})
    assert (status, headers["Content-Length"]) == (304, None)  # RFC 9110, 8.6: the blob's own, or none


class TestUploads:
    def test_in_one_piece(self, registry):
        path = registry.start_upload("a")
        status, headers, _ = registry("PUT", f"{path}?digest={DIGEST}", DATA)
        assert (status, headers["Location"]) == (201, f"/v2/a/blobs/{DIGEST}")
        assert registry("GET", headers["Location"])[2] == DATA

    def test_as_a_stream(self, registry):
        path = registry.start_upload("a")
        pieces = (DATA[at : at + 999] for at in range(0, len(DATA), 999))
        status, headers, _ = registry("PATCH", path, pieces)
        assert (status, headers["Range"]) == (202, f"0-{len(DATA) - 1}")
        assert registry("PUT", f"{headers['Location']}?digest={DIGEST}")[0] == 201

    def test_in_chunks(self, registry):
        path = registry.start_upload("a")
        for start in range(0, len(DATA), 100_000):
            chunk = DATA[start : start + 100_000]
            headers = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
            status, answer, _ = registry("PATCH", path, chunk, headers)
            assert (status, answer["Range"]) == (202, f"0-{start + len(chunk) - 1}")
            path = answer["Location"]
        assert registry("PUT", f"{path}?digest={DIGEST}")[0] == 201

    def test_the_last_chunk_may_come_with_the_digest(self, registry):
        path = registry.start_upload("a")
        registry("PATCH", path, DATA[:1000], {"Content-Range": "0-999"})
        headers = {"Content-Range": f"1000-{len(DATA) - 1}"}
        assert registry("PUT", f"{path}?digest={DIGEST}", DATA[1000:], headers)[0] == 201

    def test_chunks_out_of_order_are_refused_with_where_it_stands(self, registry):
        path = registry.start_upload("a")
        registry("PATCH", path, DATA[:1000], {"Content-Range": "0-999"})
        for start in (0, 2000):
            headers = {"Content-Range": f"{start}-{start + 999}"}
            status, answer, _ = registry("PATCH", path, DATA[:1000], headers)
            assert (status, answer["Range"]) == (416, "0-999")
        headers = {"Content-Range": "2000-2999"}
        assert registry("PUT", f"{path}?digest={DIGEST}", DATA[:1000], headers)[0] == 416
        status, answer, _ = registry("GET", path)
        assert (status, answer["Range"]) == (204, "0-999")

    def test_a_length_that_contradicts_the_range(self, registry):
        path = registry.start_upload("a")
        status, _, _ = registry("PATCH", path, b"12345", {"Content-Range": "0-9"})
        assert status == 413
        assert registry("PATCH", path, b"12345", {"Content-Range": "x"})[0] == 400

    def test_another_content_than_promised_is_refused_and_dropped(self, registry):
        path = registry.start_upload("a")
        assert registry.error("PUT", f"{path}?digest={DIGEST}", b"else") == (400, "DIGEST_INVALID")
        assert registry.error("GET", path) == (404, "BLOB_UPLOAD_UNKNOWN")
        assert registry("HEAD", f"/v2/a/blobs/{DIGEST}")[0] == 404

    def test_digests_are_checked_before_the_content_is_read(self, registry):
        path = registry.start_upload("a")
        for digest in ("", "sha256:123", "md5:d41d8cd98f00b204e9800998ecf8427e", "../../etc/passwd"):
            assert registry.error("PUT", f"{path}?digest={digest}", b"x") == (400, "DIGEST_INVALID")

    def test_sha512(self, registry):
        digest = "sha512:" + hashlib.sha512(DATA).hexdigest()
        path = registry.start_upload("a")
        registry("PATCH", path, DATA)
        assert registry("PUT", f"{path}?digest={digest}")[0] == 201
        assert registry("GET", f"/v2/a/blobs/{digest}")[2] == DATA

    def test_cancelling(self, registry):
        path = registry.start_upload("a")
        assert registry("DELETE", path)[0] == 204
        assert registry.error("DELETE", path) == (404, "BLOB_UPLOAD_UNKNOWN")
        assert registry.error("PATCH", path, b"x") == (404, "BLOB_UPLOAD_UNKNOWN")
        assert registry.error("GET", "/v2/a/blobs/uploads/..%2f..%2fx")[0] == 404

    def test_an_upload_goes_on_after_a_restart(self, new_registry):
        first = new_registry()
        path = first.start_upload("a")
        first("PATCH", path, DATA[:1000])
        first.close()
        second = new_registry()
        assert second("GET", path)[1]["Range"] == "0-999"
        assert second("PATCH", path, DATA[1000:])[0] == 202
        assert second("PUT", f"{path}?digest={DIGEST}")[0] == 201

    def test_what_a_broken_connection_brought_stays(self, registry):
        path = registry.start_upload("a")
        with socket.create_connection(("127.0.0.1", registry.port)) as sock:
            sock.sendall(
                f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n".encode() + DATA[:700]
            )
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)
        assert registry("GET", path)[1]["Range"] == "0-699"
        assert registry("PATCH", path, DATA[700:], {"Content-Range": f"700-{len(DATA) - 1}"})[0] == 202
        assert registry("PUT", f"{path}?digest={DIGEST}")[0] == 201

    def test_mounting(self, registry):
        registry.push_blob("a", DATA)
        status, headers, _ = registry("POST", f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a")
        assert (status, headers["Location"]) == (201, f"/v2/b/blobs/{DIGEST}")
        assert registry("GET", f"/v2/b/blobs/{DIGEST}")[2] == DATA

    def test_a_mount_of_what_is_not_there_is_an_upload(self, registry):
        for query in (f"mount={DIGEST}&from=a", f"mount={DIGEST}", f"mount={DIGEST}&from=../x"):
            status, headers, _ = registry("POST", f"/v2/b/blobs/uploads/?{query}")
            assert (status, headers["Range"]) == (202, "0-0")


class TestManifests:
    def test_by_tag_and_digest(self, registry):
        digest = registry.push_image("a", "latest")
        for reference in ("latest", digest):
            status, headers, body = registry("GET", f"/v2/a/manifests/{reference}")
            assert (status, headers["Content-Type"], sha256(body)) == (200, MANIFEST, digest)
            assert registry("HEAD", f"/v2/a/manifests/{reference}")[1]["Docker-Content-Digest"] == digest

    def test_missing(self, registry):
        registry.push_image("a", "latest")
        for path in ("a/manifests/other", "b/manifests/latest", f"a/manifests/{DIGEST}"):
            assert registry.error("GET", f"/v2/{path}") == (404, "MANIFEST_UNKNOWN")

    def test_blobs_must_be_there(self, registry):
        config = registry.push_blob("a", b"{}")
        raw = json.dumps(manifest(config, 2, (DIGEST, len(DATA)))).encode()
        headers = {"Content-Type": MANIFEST}
        assert registry.error("PUT", "/v2/a/manifests/x", raw, headers) == (404, "MANIFEST_BLOB_UNKNOWN")

    @pytest.mark.parametrize(
        "raw",
        [b"", b"{", b"[]", b"{}", b'{"schemaVersion":2}', b'{"schemaVersion":1}', b"[" * 100_000,
         json.dumps({**manifest(DIGEST, 1), "manifests": []}).encode(),
         json.dumps(manifest("sha256:zz", 1)).encode()],
    )  # fmt: skip
    def test_nonsense_is_refused(self, registry, raw):
        headers = {"Content-Type": MANIFEST}
        assert registry.error("PUT", "/v2/a/manifests/x", raw, headers) == (400, "MANIFEST_INVALID")

    def test_too_large(self, registry):
        raw = b" " * (4 << 20) + b"{}"
        assert registry("PUT", "/v2/a/manifests/x", raw, {"Content-Type": MANIFEST})[0] == 413

    def test_a_digest_must_be_the_content_s(self, registry):
        raw = b'{"schemaVersion":2,"manifests":[]}'
        assert registry.error("PUT", f"/v2/a/manifests/{DIGEST}", raw, {"Content-Type": INDEX}) == (
            400,
            "DIGEST_INVALID",
        )
        digest = "sha512:" + hashlib.sha512(raw).hexdigest()
        assert registry.push_manifest("a", digest, raw, INDEX) == digest
        assert registry("GET", f"/v2/a/manifests/{digest}")[2] == raw

    def test_an_index_needs_its_manifests(self, registry):
        digest = registry.push_image("a", "one")
        size = int(registry("HEAD", f"/v2/a/manifests/{digest}")[1]["Content-Length"])
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{"mediaType": MANIFEST, "digest": digest, "size": size}],
        }
        registry.push_manifest("a", "all", index, INDEX)
        raw = json.dumps(index).encode()
        headers = {"Content-Type": INDEX}
        assert registry.error("PUT", "/v2/b/manifests/all", raw, headers) == (404, "MANIFEST_BLOB_UNKNOWN")

    @pytest.mark.parametrize("name", ["A", "a//b", "-a", "a/../b", "a" * 300])
    def test_names(self, registry, name):
        assert registry.error("GET", f"/v2/{name}/tags/list") == (400, "NAME_INVALID")

    def test_tags_have_a_form(self, registry):
        assert registry.error("GET", "/v2/a/manifests/.x") == (400, "TAG_INVALID")


class TestReferrers:
    def push_referrer(self, registry, subject, kind, **more):
        return registry.push_manifest(
            "a",
            "x",
            manifest(
                registry.push_blob("a", b"{}"), 2, artifactType=kind,
                subject={"mediaType": MANIFEST, "digest": subject, "size": 1}, **more,
            ),
        )  # fmt: skip

    def test_listed_with_type_and_annotations(self, registry):
        subject = registry.push_image("a", "latest")
        one = self.push_referrer(registry, subject, "text/sbom", annotations={"k": "v"})
        two = self.push_referrer(registry, subject, "text/signature")
        status, headers, body = registry("GET", f"/v2/a/referrers/{subject}")
        assert (status, headers["Content-Type"]) == (200, INDEX)
        found = json.loads(body)["manifests"]
        assert [(m["digest"], m["artifactType"]) for m in found] == [
            (one, "text/sbom"),
            (two, "text/signature"),
        ]
        assert found[0]["annotations"] == {"k": "v"}

    def test_filter(self, registry):
        subject = registry.push_image("a", "latest")
        self.push_referrer(registry, subject, "text/sbom")
        wanted = self.push_referrer(registry, subject, "text/signature")
        status, headers, body = registry("GET", f"/v2/a/referrers/{subject}?artifactType=text/signature")
        assert (status, headers["OCI-Filters-Applied"]) == (200, "artifactType")
        assert [m["digest"] for m in json.loads(body)["manifests"]] == [wanted]

    def test_the_subject_may_come_later(self, registry):
        assert self.push_referrer(registry, DIGEST, "text/sbom")
        assert len(json.loads(registry("GET", f"/v2/a/referrers/{DIGEST}")[2])["manifests"]) == 1

    def test_the_registry_says_that_it_knows_subjects(self, registry):
        raw = json.dumps(
            manifest(
                registry.push_blob("a", b"{}"),
                2,
                subject={"mediaType": MANIFEST, "digest": DIGEST, "size": 1},
            )
        ).encode()
        status, headers, _ = registry("PUT", "/v2/a/manifests/x", raw, {"Content-Type": MANIFEST})
        assert (status, headers["OCI-Subject"]) == (201, DIGEST)

    def test_nobody_refers(self, registry):
        status, _, body = registry("GET", f"/v2/a/referrers/{DIGEST}")
        assert (status, json.loads(body)["manifests"]) == (200, [])
        assert registry.error("GET", "/v2/a/referrers/x") == (400, "DIGEST_INVALID")


class TestLists:
    def test_tags_in_pages(self, registry):
        tags = [f"v{n}" for n in range(5)]
        for tag in reversed(tags):
            registry.push_image("a", tag)
        assert json.loads(registry("GET", "/v2/a/tags/list")[2]) == {"name": "a", "tags": tags}
        path, found = "/v2/a/tags/list?n=2", []
        while path:
            _, headers, body = registry("GET", path)
            found.append(json.loads(body)["tags"])
            path = headers["Link"].partition(">")[0][1:] if "Link" in headers else None
        assert found == [["v0", "v1"], ["v2", "v3"], ["v4"]]
        assert json.loads(registry("GET", "/v2/a/tags/list?n=0")[2])["tags"] == []
        assert json.loads(registry("GET", "/v2/a/tags/list?last=v2x")[2])["tags"] == ["v3", "v4"]
        assert registry.error("GET", "/v2/a/tags/list?n=-1") == (400, "PAGINATION_NUMBER_INVALID")

    def test_of_what_is_not_there(self, registry):
        assert registry.error("GET", "/v2/a/tags/list") == (404, "NAME_UNKNOWN")

    def test_catalogue(self, registry):
        for name in ("b", "a/x", "c"):
            registry.push_image(name, "latest")
        assert json.loads(registry("GET", "/v2/_catalog")[2]) == {"repositories": ["a/x", "b", "c"]}
        _, headers, body = registry("GET", "/v2/_catalog?n=2")
        assert json.loads(body)["repositories"] == ["a/x", "b"]
        assert headers["Link"] == '</v2/_catalog?n=2&last=b>; rel="next"'


class TestDeletion:
    def test_a_tag(self, registry):
        digest = registry.push_image("a", "one")
        registry.push_image("a", "two")
        assert registry("DELETE", "/v2/a/manifests/one")[0] == 202
        assert registry("GET", f"/v2/a/manifests/{digest}")[0] == 200
        assert json.loads(registry("GET", "/v2/a/tags/list")[2])["tags"] == ["two"]
        assert registry.error("DELETE", "/v2/a/manifests/one") == (404, "MANIFEST_UNKNOWN")

    def test_a_manifest_goes_with_its_tags(self, registry):
        digest = registry.push_image("a", "one")
        registry.push_image("a", "two")
        assert registry("DELETE", f"/v2/a/manifests/{digest}")[0] == 202
        assert json.loads(registry("GET", "/v2/a/tags/list")[2])["tags"] == []
        assert registry.error("DELETE", f"/v2/a/manifests/{digest}") == (404, "MANIFEST_UNKNOWN")

    def test_a_blob(self, registry):
        registry.push_blob("a", DATA)
        assert registry("DELETE", f"/v2/a/blobs/{DIGEST}")[0] == 202
        assert registry("HEAD", f"/v2/a/blobs/{DIGEST}")[0] == 404
        assert registry.error("DELETE", f"/v2/a/blobs/{DIGEST}") == (404, "BLOB_UNKNOWN")

    def test_where_it_is_not_allowed(self, new_registry):
        kept = new_registry(no_delete=True)
        digest = kept.push_image("a", "one")
        assert kept.error("DELETE", f"/v2/a/manifests/{digest}") == (405, "UNSUPPORTED")
        assert kept.error("POST", "/v2/a/manifests/x") == (405, "UNSUPPORTED")


def test_read_only(new_registry):
    registry = new_registry(read_only=True)
    assert registry.error("POST", "/v2/a/blobs/uploads/") == (405, "UNSUPPORTED")
    assert registry("GET", "/v2/")[0] == 200


def test_the_same_place_asked_for_in_other_ways(registry):
    """What was answered before is answered again only where it is the answer."""
    registry.push_blob("a", DATA)
    path = f"/v2/a/blobs/{DIGEST}"
    for _ in range(2):
        assert registry("GET", path)[2] == DATA
        status, headers, body = registry("HEAD", path)
        assert (status, headers["Content-Length"], body) == (200, str(len(DATA)), b"")
        assert registry("GET", path, None, {"Range": "bytes=1-2"})[2] == DATA[1:3]
        assert registry("GET", path, None, {"If-None-Match": f'"{DIGEST}"'})[0] == 304
        assert registry("POST", path)[0] == 405
    assert registry("DELETE", path)[0] == 202
    assert registry("GET", path)[0] == 404


def test_many_requests_on_one_connection(registry):
    registry.push_blob("a", DATA)
    connection = http.client.HTTPConnection("127.0.0.1", registry.port)
    for _ in range(5):
        connection.request("GET", f"/v2/a/blobs/{DIGEST}")
        assert connection.getresponse().read() == DATA
        connection.request("PUT", "/v2/a/manifests/x", b"x" * 5000, {"Content-Type": "text/plain"})
        assert connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize(
    "head",
    [b"GARBAGE\r\n\r\n", b"GET /v2/ HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
     b"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
     b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"],
)  # fmt: skip
def test_malformed_requests_end_the_connection(registry, head):
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as sock:
        sock.sendall(head)
        answer = b""
        try:
            while data := sock.recv(4096):
                answer += data
        except ConnectionResetError:
            pass
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert registry("GET", "/v2/")[0] == 200
